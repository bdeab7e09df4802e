"""`invert_folder`: what it keeps, how it goes on after a kill, shared work, what it refuses."""

from __future__ import annotations

import csv
import errno
import gc
import json
import os
import shutil
import signal
import socket
import weakref
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from aelib import random, runtime
from aelib.inversion import Along, Recipe, folder, invert, invert_folder
from aelib.inversion.chunks import COLUMNS
from aelib.inversion.result import NUMBERS
from aelib.runtime import files as files_room

SETTINGS = {"size": 8, "steps": 4, "chunk": 2, "seeds": 2}
LAYERS = ["0", "output"]


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """A job started in the background ignores Ctrl-C, and hands that down to these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def small(seed=0):
    with random.seeded(seed):
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 20)).eval()


def picture(path, seed=0, size=16, value=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels if value is None else np.full_like(pixels, value)).save(path)
    return path


def pictures(root, n=7):
    """Images in two folders, alike in their stems; in the order of their names."""
    names = sorted(f"{'ab'[i % 2]}/{i // 2}.png" for i in range(n))
    for seed, name in enumerate(names):
        picture(root / name, seed)
    return names


def run(root, out, model=None, layers=LAYERS, **changes):
    return invert_folder(model or small(), root, layers, out=out, **{**SETTINGS, **changes})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Four images in "in", and a run of them in "out"."""
    root = tmp_path_factory.mktemp("finished")
    pictures(root / "in", 4)
    run(root / "in", root / "out")
    return root


@pytest.fixture
def done(finished, tmp_path):
    """The same, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "done"))


def table(out):
    with open(out / "table.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def timeless(out):
    """The table but for the one column that no two runs have alike."""
    return [{name: text for name, text in row.items() if name != "seconds"} for row in table(out)]


def left_out(out):
    with open(out / "left_out.csv", encoding="utf-8", newline="") as file:
        return dict(list(csv.reader(file))[1:])


# --- What is kept --------------------------------------------------------------------------------


def test_a_row_an_image_layer_and_seed_is_what_invert_gives(tmp_path):
    names = pictures(tmp_path / "in")
    found = run(tmp_path / "in", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "table.csv", "left_out.csv", "grid.png", "run.json", "chunks",
    }  # fmt: skip
    rows = table(tmp_path / "out")
    assert [(row["file"], row["layer"], int(row["seed"])) for row in rows] == [
        (name, layer, seed) for name in names for layer in LAYERS for seed in (0, 1)
    ]
    assert list(rows[0]) == list(COLUMNS)
    for chunk in found.chunks():
        alone = invert(small(), chunk.inversion.images, LAYERS, seeds=2, steps=4)
        for layer in LAYERS:
            assert torch.equal(alone[layer].images, chunk.inversion[layer].images)
            for i, file in enumerate(chunk.files):
                for seed in (0, 1):
                    (row,) = [row for row in rows if (row["file"], row["layer"], row["seed"])
                              == (file, layer, str(seed))]  # fmt: skip
                    for name in set(NUMBERS) - {"seconds"}:
                        value = getattr(alone[layer], name)[seed, i]
                        told = torch.tensor(float(row[name] or "nan"))
                        assert told.allclose(value.float(), rtol=0, atol=0, equal_nan=True), name
                    ratio = float(row["m_g"]) / float(row["m_r"])
                    assert float(row["m_g/m_r"]) == pytest.approx(ratio, rel=1e-6)
                    assert row["stopped"] == alone[layer].stopped[seed][i]
    about = json.loads((tmp_path / "out" / "run.json").read_text())
    assert about["settings"]["steps"] == 4
    assert about["machines"] == [runtime.machine()]
    assert (about["inverted"], about["left_out"]) == (7, 0)
    assert "inverted 7 images" in str(found)


def test_files_that_are_none_are_named_and_the_others_done(tmp_path):
    names, root = pictures(tmp_path / "in", 4), tmp_path / "in"
    whole = (root / names[0]).read_bytes()
    (root / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "a" / "text.jpg").write_text("no image")
    (root / "notes.txt").write_text("passed over")
    (root / "lost.png").symlink_to("nowhere")
    picture(root / "tiny.png", size=7)
    deep = np.full((16, 16, 3), 9)
    (root / "deep.ppm").write_bytes(b"P6 16 16 65535\n" + deep.astype(">u2").tobytes())
    found = run(root, tmp_path / "out")
    why = left_out(tmp_path / "out")
    assert set(why) == {"a/cut.png", "a/text.jpg", "lost.png", "tiny.png"}
    assert "truncated" in why["a/cut.png"]
    assert "no format" in why["a/text.jpg"]
    assert why["tiny.png"] == "size: expected 7 or less, got 8"
    assert {row["file"] for row in table(tmp_path / "out")} == {*names, "deep.ppm"}
    told = str(found)
    assert "left out, 4 of 9 images: a/cut.png (" in told
    assert "colours cut to 8 bits a channel: deep.ppm" in told
    assert found.left_out == why


def nan_where_dark(model, images):
    dark = images.mean((1, 2, 3), keepdim=True) < 0.2
    return model(images.where(~dark, float("nan")))


def blind_where_dark(model, images):
    return model(images * (images.mean((1, 2, 3), keepdim=True) > 0.2))


@pytest.mark.parametrize(
    ("forward", "why"),
    [(nan_where_dark, "0 is not finite"), (blind_where_dark, "0 is the same for x and x")],
)
def test_an_image_that_a_layer_cannot_tell_is_left_out_wherever_it_stands(tmp_path, forward, why):
    names, root = pictures(tmp_path / "in", 3), tmp_path / "in"
    picture(root / "0.png", value=10)  # first in its chunk
    picture(root / "z.png", value=10)  # alone in its chunk
    found = run(root, tmp_path / "out", forward=forward)
    assert set(left_out(tmp_path / "out")) == {"0.png", "z.png"}
    assert all(reason.startswith(why) for reason in found.left_out.values())
    assert [row["file"] for row in table(tmp_path / "out")][::4] == names
    with pytest.raises(ValueError, match=f"images: expected some .*none of 1: .*0.png .{why}"):
        run([root / "0.png"], tmp_path / "other", forward=forward)
    with pytest.raises(ValueError, match=r"none of 2: [^,]*0.png [^,]*(, so [^,]*)?$"):  # once
        run([root / "0.png", root / "z.png"], tmp_path / "other", forward=forward)


class Standardizing(nn.Module):
    """Each image by its own deviation: of a flat one features are finite, the gradient is not."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        apart = images - images.mean((1, 2, 3), keepdim=True)
        return self.conv(apart / (apart.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-5))


def test_an_image_whose_gradient_is_not_finite_is_left_out_wherever_it_stands(tmp_path):
    names, root = pictures(tmp_path / "in", 3), tmp_path / "in"
    for name in ("0.png", "a/x.png", "z.png"):  # first, second and alone in its chunk
        picture(root / name, value=0)
    found = run(root, tmp_path / "out", Standardizing(), "conv")
    assert found.left_out == dict.fromkeys(
        ("0.png", "a/x.png", "z.png"), "conv has a gradient that is not finite"
    )
    assert [row["file"] for row in table(tmp_path / "out")][::2] == names


@pytest.mark.parametrize(("seeds", "told"), [
    ([7, 4], "0 is not finite for x moved by the noise of seed 4"),
    ([4, 7], "0 is not finite"),
])  # fmt: skip
def test_an_image_that_a_seeds_noise_takes_where_a_layer_is_not_finite(tmp_path, seeds, told):
    def log(model, images):
        return model[0](torch.log(images + 0.18))  # the least of noise 7 is −0.17, that of 4 −0.19

    picture(tmp_path / "in" / "bright.png", value=200)
    picture(tmp_path / "in" / "dark.png", value=0)
    found = run(tmp_path / "in", tmp_path / "out", seeds=seeds, forward=log, layers="0", size=16)
    assert found.left_out == {"dark.png": told}
    assert found.inverted == 1


class Attending(nn.Module):
    """Its layers inside attention run only where gradients are asked for."""

    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(3, 1, 5, batch_first=True)

    def forward(self, images):
        return self.block(images.flatten(2).transpose(1, 2))


@torch.inference_mode()
def test_layers_inside_attention_and_double_precision(tmp_path):
    cat = picture(tmp_path / "cat.png")
    with torch.inference_mode(False), random.seeded(0):
        model = Attending().double().eval()
    found = run([cat], tmp_path / "out", model, "block.linear1")
    assert [chunk.inversion.images.dtype for chunk in found.chunks()] == [torch.float64]


def test_a_layer_of_whole_numbers_is_the_layers_own_fault(tmp_path):
    with pytest.raises(ValueError, match=r"layers: 'output' .* not floats"):
        run([picture(tmp_path / "a.png")], tmp_path / "out", forward=lambda model, x: x.long(),
            layers="output")  # fmt: skip


def test_images_are_read_chunk_by_chunk_and_let_go(tmp_path, monkeypatch):
    pictures(tmp_path / "in", 6)
    read, alive, seen = [], [], []

    def opened(path):
        read.append(path)
        return opened.real(path)

    def watched(model, images, *args, **how):
        gc.collect()
        seen.append((len(read), sum(one() is not None for one in alive)))
        found = invert(model, images, *args, **how)
        alive.extend([weakref.ref(images), weakref.ref(found)])
        return found

    opened.real = folder.open_plain
    monkeypatch.setattr(folder, "open_plain", opened)
    monkeypatch.setattr(folder, "invert", watched)
    run(tmp_path / "in", tmp_path / "out")
    assert seen == [(2, 0), (4, 0), (6, 0)]


def test_outputs_inside_the_folder_of_images_are_no_images(tmp_path):
    names = pictures(tmp_path, 3)
    for _ in range(2):
        assert run(tmp_path, tmp_path / "out" / "here").files == 3
    assert {row["file"] for row in table(tmp_path / "out" / "here")} == set(names)
    assert run(tmp_path / "out", tmp_path / "out2").files == 1  # there grid.png is one like others


# --- Going on ------------------------------------------------------------------------------------


def in_processes(n, folder_in, out, dies=None):
    """`invert_folder` in `n` processes, as `accelerate launch` starts them."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
    torch.multiprocessing.spawn(one_process, (n, port, folder_in, out, dies), n)


def one_process(rank, n, port, folder_in, out, dies):
    if n > 1:
        os.environ |= {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(n),
            "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(n),
        }  # fmt: skip
    os.environ["ACCELERATE_USE_CPU"] = "true"
    torch.set_num_threads(1)
    real, renamed = os.replace, []

    def fatal(*args):
        renamed.append(args)
        if len(renamed) == dies:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*args)

    os.replace = fatal
    found = run(folder_in, out)
    written = [Path(to).name for _, to in renamed]
    (out / f"told.{rank}").write_text(json.dumps([found.inverted, str(found), written]))
    if n > 1:
        torch.distributed.destroy_process_group()


def test_killed_and_gone_on_by_two_processes_is_as_never_stopped(tmp_path):
    names, out = pictures(tmp_path / "in"), tmp_path / "out"
    (tmp_path / "in" / "broken.png").write_text("")
    with pytest.raises(torch.multiprocessing.ProcessExitedException, match="SIGKILL"):
        in_processes(1, tmp_path / "in", out, 6)  # run.json, two chunks of two files, half a chunk
    assert len(list(out.glob("chunks/*.json"))) == 2
    assert list(out.glob("**/.*unfinished"))
    assert not (out / "table.csv").exists()
    done = {path: path.stat().st_mtime_ns for path in out.glob("chunks/*.json")}
    in_processes(2, tmp_path / "in", out)
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())
    with runtime.threads(1):
        run(tmp_path / "in", tmp_path / "whole")
    assert len(table(out)) == len(names) * 4
    assert timeless(out) == timeless(tmp_path / "whole")
    assert left_out(out) == left_out(tmp_path / "whole")
    assert (out / "grid.png").read_bytes() == (tmp_path / "whole" / "grid.png").read_bytes()
    for rank in (0, 1):
        inverted, told, written = json.loads((out / f"told.{rank}").read_text())
        assert inverted == 7
        assert told.startswith("left out, 1 of 8 images: broken.png (")
        assert [name for name in written if name[0] == "0"] == [
            f"0000{2 + rank}.safetensors", f"0000{2 + rank}.json",
        ]  # fmt: skip
        assert ("table.csv" in written) == (rank == 0)
    assert not list(out.glob("**/.*unfinished"))  # what the kills had left


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def turned(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def of_another_run(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"run": "0"}))


@pytest.mark.parametrize(
    ("ending", "spoil"),
    [
        ("safetensors", cut), ("safetensors", turned), ("safetensors", os.remove),
        ("json", cut), ("json", of_another_run), ("json", lambda path: path.write_text("[]")),
    ],
)  # fmt: skip
def test_a_chunk_that_does_not_fit_is_made_anew_and_named(done, ending, spoil):
    out = done / "out"
    before, sound = timeless(out), (out / "chunks" / "00000.safetensors").stat().st_mtime_ns
    spoil(out / "chunks" / f"00001.{ending}")
    found = run(done / "in", out)
    assert found.made_anew == ("00001.safetensors",)
    assert "made anew, since they did not fit: 00001.safetensors" in str(found)
    assert timeless(out) == before
    assert (out / "chunks" / "00000.safetensors").stat().st_mtime_ns == sound


def test_a_layer_asked_for_twice_by_globs_is_no_interruption(tmp_path):
    pictures(tmp_path / "in")
    found = run(tmp_path / "in", tmp_path / "out", layers=["0", "*", "**"])
    assert not found.interrupted
    assert len({row["layer"] for row in table(tmp_path / "out")}) == len(small()) + 1


def test_what_is_finished_is_not_done_again(done, monkeypatch):
    before = table(done / "out")
    monkeypatch.setattr(folder, "invert", None)  # a call would fail
    found = run(done / "in", done / "out")
    assert (found.inverted, found.made_anew) == (4, ())
    assert table(done / "out") == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": 5}, "steps 4, now 5"),
        ({"seeds": [0, 1]}, r"seeds 2, now \[0, 1\]"),
        ({"chunk": 3}, "chunk 2, now 3"),
        ({"until": 0.5}, "until None, now 0.5"),
        ({"layers": "0"}, "layers .*, now "),
        ({"model": small(1)}, "model 'Sequential, .*', now 'Sequential, "),
        ({"forward": nan_where_dark}, "forward 'None', now 'nan_where_dark'"),
    ],
)
def test_another_run_in_the_same_folder_is_refused(done, change, told):
    before = (done / "out" / "table.csv").read_bytes()
    with pytest.raises(ValueError, match=f"out: expected a folder of this run, got .* {told}"):
        run(done / "in", done / "out", **change)
    assert (done / "out" / "table.csv").read_bytes() == before


def scaled(factor):
    return lambda model, images: model(images * factor)


class Holding(nn.Module):
    """Computes with a buffer that no state_dict has, and with a plain number."""

    def __init__(self, buffer=1.0, number=1.0):
        super().__init__()
        with random.seeded(0):
            self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("buffer", torch.tensor(buffer), persistent=False)
        self.number = number

    def forward(self, images):
        return self.conv(images * self.buffer * self.number)


@pytest.mark.parametrize(("first", "then", "told"), [
    ({"forward": scaled(1.0)}, {"forward": scaled(2.0)}, "with m_r .* in '0', now "),
    ({"model": Holding()}, {"model": Holding(number=2.0)}, "with m_r .* in 'conv', now "),
    ({"model": Holding()}, {"model": Holding(buffer=2.0)}, "with model 'Holding, .*, now 'Hold"),
])  # fmt: skip
def test_what_only_the_numbers_tell_from_the_run_kept_is_refused(tmp_path, first, then, told):
    pictures(tmp_path / "in", 4)
    layers = LAYERS if "forward" in first else "conv"
    run(tmp_path / "in", tmp_path / "out", layers=layers, **first)
    os.remove(tmp_path / "out" / "chunks" / "00001.json")
    with pytest.raises(ValueError, match=f"out: expected a folder of this run, got .* {told}"):
        run(tmp_path / "in", tmp_path / "out", layers=layers, **then)
    assert run(tmp_path / "in", tmp_path / "out", layers=layers, **first).inverted == 4


def test_a_recipe_with_another_number_in_the_middle_is_another_run(tmp_path):
    pictures(tmp_path / "in", 2)
    with random.seeded(0):
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2000))
    origins = torch.zeros(2, 2000)
    origins[1, 1000] = 1.0  # a number that is not printed
    recipes = [Recipe(loss=Along(origin)) for origin in origins]
    for _ in range(2):
        run(tmp_path / "in", tmp_path / "out", model, "output", recipe=recipes[0])
    with pytest.raises(ValueError, match=r"out: expected a folder of this run, .* recipe 'Recipe"):
        run(tmp_path / "in", tmp_path / "out", model, "output", recipe=recipes[1])


@pytest.mark.parametrize("how", [
    {"precision": "bf16"}, {"channels_last": False}, {"recipe": "trained", "steps": 40},
])  # fmt: skip
def test_a_run_in_any_precision_knows_its_own_chunks_again(tmp_path, how):
    pictures(tmp_path / "in", 4)
    run(tmp_path / "in", tmp_path / "out", **how)
    assert run(tmp_path / "in", tmp_path / "out", **how).inverted == 4


def test_a_folder_kept_in_another_format_is_refused(done, monkeypatch):
    monkeypatch.setattr(folder, "FORMAT", "aelib inversion 3")
    with pytest.raises(ValueError, match="format 'aelib inversion 2', now 'aelib inversion 3'"):
        run(done / "in", done / "out")


def test_other_images_in_the_same_folder_are_refused(done):
    path = done / "in" / "a" / "0.png"
    for change in (
        lambda: picture(path.with_name("more.png")),
        lambda: path.with_name("more.png").unlink() or picture(path, size=20),
        lambda: turned(path),  # as many bytes as before
    ):
        change()
        with pytest.raises(ValueError, match=r"with images '4 files, \w+', now '[45] files, \w+'"):
            run(done / "in", done / "out")


def test_a_mistake_in_the_first_call_does_not_claim_the_folder(tmp_path):
    pictures(tmp_path / "in", 2)
    for mistake, told in (
        ({"layers": "1o"}, "names of the model"),
        ({"steps": 0}, "steps: expected 1"),
        ({"size": 17}, "size: expected 16 or less"),
    ):
        with pytest.raises(ValueError, match=told):
            run(tmp_path / "in", tmp_path / "out", **mistake)
    assert run(tmp_path / "in", tmp_path / "out").inverted == 2


def test_ctrl_c_keeps_the_chunks_done_and_hands_over_the_one_under_way(tmp_path, monkeypatch):
    pictures(tmp_path / "in", 6)
    calls = []

    def pressed(model, images, *args, **how):
        calls.append(1)
        note = (lambda info: os.kill(os.getpid(), signal.SIGINT)) if len(calls) == 2 else None
        return invert(model, images, *args, callback=note, **how)

    monkeypatch.setattr(folder, "invert", pressed)
    found = run(tmp_path / "in", tmp_path / "out")
    assert found.interrupted
    assert [chunk.files for chunk in found.chunks()] == [("a/0.png", "a/1.png")]
    assert found.under_way.files == ("a/2.png", "b/0.png")
    assert found.under_way.inversion.layers == ("0",)
    assert "stopped: 1 of 3 chunks are kept" in str(found)
    assert "the same settings to go on" in str(found)

    def stopped(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "open_plain", stopped)  # between two descents
    found = run(tmp_path / "in", tmp_path / "out")
    assert (found.interrupted, found.under_way) == (True, None)
    monkeypatch.undo()
    run(tmp_path / "in", tmp_path / "out")
    run(tmp_path / "in", tmp_path / "whole")
    assert timeless(tmp_path / "out") == timeless(tmp_path / "whole")


# --- What is refused -----------------------------------------------------------------------------


def test_folders_and_files_that_cannot_be_are_refused_before_anything_is_made(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("")
    cat = picture(tmp_path / "cat.png")
    out = tmp_path / "out"
    for images, error, told in (
        (tmp_path / "empty", ValueError, "images: expected some image files, got none in"),
        (tmp_path / "texts", ValueError, "images: expected some image files, got none in"),
        (cat, FileNotFoundError, "a folder, or a list of files, got .*cat.png, which is a file"),
        (tmp_path / "none", FileNotFoundError, "none, which is not there"),
        ([cat, tmp_path / "none.png"], FileNotFoundError, "images: there is no file .*none.png"),
        ([cat, cat], ValueError, "images: expected at least one file, each once"),
        ([], ValueError, "images: expected at least one file, each once"),
    ):
        with pytest.raises(error, match=told):
            run(images, out)
    for change, told in (
        ({"stps": 3}, "options: expected a known name, got 'stps'; did you mean 'steps'"),
        ({"init": None}, "options: expected a known name, got 'init'"),
        ({"chunk": 0}, "chunk: expected 1 or more"),
        ({"channels": 2}, "channels: expected 1"),
        ({"seeds": 0}, "seeds: expected 1 or more"),
        ({"seeds": []}, "seeds: expected how many, or a list of them"),
        ({"seeds": [-1]}, "seeds: expected 0 or more"),
    ):
        with pytest.raises(ValueError, match=told):
            run([cat], out, **change)
    assert not out.exists()
    with pytest.raises(ValueError, match="out: expected a folder of its own"):
        run(tmp_path, tmp_path)
    with pytest.raises(OSError, match=r"cannot write the inversions to .*cat\.png"):
        run([cat], cat)


def test_a_folder_with_such_files_but_no_run_is_left_alone(tmp_path):
    pictures(tmp_path / "in", 2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"which holds table\.csv but no run\.json"):
        run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "out" / "run.json").write_text("mine")
    with pytest.raises(ValueError, match="which says nothing of a run"):
        run(tmp_path / "in", tmp_path / "out")


def test_a_disk_too_small_is_refused_before_the_first_iteration(tmp_path, monkeypatch):
    pictures(tmp_path / "in", 4)
    need = 4 * (1 + 2 * 2) * 4 * 3 * 8 * 8  # images; their own pixels, layers × seeds; bytes
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(need - 1))
    monkeypatch.setattr(folder, "invert", None)  # a call would fail otherwise
    with pytest.raises(OSError, match=r"out: expected room for .* free in .*; make room"):
        run(tmp_path / "in", tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(need))
    assert run(tmp_path / "in", tmp_path / "out").inverted == 4


def test_a_disk_that_fills_up_leaves_what_was_kept(tmp_path, monkeypatch):
    pictures(tmp_path / "in", 6)
    syncs = []

    def full(handle):
        syncs.append(handle)
        if len(syncs) > 4:  # run.json, the first chunk's two files, the second's first
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files_room.os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write the .* bytes of .*00001.json \(No space"):
        run(tmp_path / "in", tmp_path / "out")
    monkeypatch.undo()
    assert [path.name for path in sorted(tmp_path.glob("out/chunks/*"))] == [
        "00000.json", "00000.safetensors", "00001.safetensors",
    ]  # fmt: skip
    assert run(tmp_path / "in", tmp_path / "out").made_anew == ()
    assert len(table(tmp_path / "out")) == 6 * 4


def test_numbers_of_numpy_are_numbers(tmp_path):
    names = pictures(tmp_path / "images", n=1)
    found = invert_folder(
        small(), [tmp_path / "images" / names[0]], "1", out=tmp_path / "out", steps=2,
        size=np.int64(8), seeds=list(np.arange(2)),
    )  # fmt: skip
    assert [chunk.inversion.seeds for chunk in found.chunks()] == [(0, 1)]
