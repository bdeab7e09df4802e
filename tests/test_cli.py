"""`python -m aelib`: exit statuses, what goes to stdout and stderr, never a stack trace."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from laboratory import made, plain, put

import aelib as ae
from aelib import experiments
from aelib.__main__ import main
from aelib.experiments import experiment as room
from aelib.inversion import folder as inversion_folder


@pytest.fixture
def laboratory(monkeypatch, tmp_path):
    """One made-up experiment, kept in a folder of its own."""
    put(monkeypatch, made(plain))
    monkeypatch.setattr(room, "HOME", tmp_path / "kept")
    return tmp_path / "kept"


def run(capsys, *arguments):
    """The exit status, stdout and stderr of one command."""
    try:
        status = main([str(one) for one in arguments])
    except SystemExit as stopped:
        status = stopped.code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return status, captured.out, captured.err


def test_measure_keeps_and_says_where_and_claims_prints_the_ledger(capsys, laboratory, tmp_path):
    status, out, err = run(capsys, "measure", "9.1")
    assert status == 0
    assert out.startswith(f"kept in {laboratory / '9.1.json'} after ")
    assert "measuring claim 9.1 at full length" in err
    assert run(capsys, "measure", "9.1", "--out", tmp_path / "else" / "where")[0] == 0
    assert (tmp_path / "else" / "where" / "9.1.json").exists()

    status, out, err = run(capsys, "claims")
    assert (status, err) == (0, "")
    assert out.splitlines()[0].split() == ["9.1", "supported", "It", "copies."]
    assert "kappa: 1 [1, 1] dB, 5 nets" in out
    assert "control, identity: 1 [1, 1]" in out
    (record,) = json.loads(run(capsys, "claims", "--json")[1])
    assert (record["id"], record["verdict"]) == ("9.1", "supported")


def test_measure_short_keeps_nothing(capsys, laboratory):
    status, out, _ = run(capsys, "measure", "9.1", "--short")
    assert (status, out.splitlines()[0].split()) == (
        0,
        ["9.1", "supported,", "by", "a", "short", "run", "alone"],
    )
    assert "kappa: 1 [1, 1]" in out
    assert not laboratory.exists()
    run(capsys, "measure", "9.1")
    assert "9.1  supported; the short run agrees" in run(capsys, "measure", "9.1", "--short")[1]


def test_measure_stability_varies_what_is_kept_and_measures_nothing(
    capsys, monkeypatch, laboratory, tmp_path
):
    asked = []
    monkeypatch.setattr(experiments, "vary", lambda *args: asked.append(args) or [tmp_path / "9.1"])
    monkeypatch.setattr(experiments, "measure", None)  # a call would fail
    status, out, _ = run(capsys, "measure", "9.1", "--stability", "--jobs", "2")
    assert (status, asked) == (0, [("9.1", None, 2)])
    assert out == f"claim 9.1: kept in {tmp_path / '9.1'}\n"


def test_measure_all_stale_does_what_is_needed(capsys, monkeypatch, laboratory):
    asked = ("measure", "--all", "--stale")
    status, out, err = run(capsys, *asked)
    assert (status, "kept in" in out) == (0, True)
    assert "no full run of claim 9.1 is kept" in err
    before = (laboratory / "9.1.json").read_bytes()
    assert "speaks for today's code" in run(capsys, *asked)[1]
    assert (laboratory / "9.1.json").read_bytes() == before
    put(monkeypatch, made(lambda seeds: plain(seeds, value=2.0)))
    status, out, err = run(capsys, *asked)
    assert "the short run gives 2" in err
    assert ae.experiments.kept("9.1").readings["kappa"] == [2.0] * 5


def test_doctor(capsys):
    status, out, err = run(capsys, "doctor")
    assert (status, err) == (0, "")
    for word in (
        "profile",
        "torch",
        "machine:",
        "cache for downloads:",
        "threads",
        "kernels",
        "BLAS",
    ):
        assert word in out


def test_help(capsys):
    for arguments in (("--help",), ("claims", "--help"), ("measure", "-h"), ("doctor", "-h")):
        status, out, _ = run(capsys, *arguments)
        assert status == 0
        assert "usage: python -m aelib" in out
    assert {"claims", "measure", "doctor"} <= set(run(capsys, "--help")[1].split())
    assert run(capsys, "--version")[1] == f"aelib {ae.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: command"),
        (("claimz",), "invalid choice: 'claimz'"),
        (("measure",), "id: expected one or more, or --all"),
        (("measure", "9.1", "--full", "--short"), "not allowed with argument --full"),
        (("measure", "9.1", "--short", "--stability"), "not allowed with argument --short"),
        (("measure", "9.1", "--short", "--resume"), "--short: keeps nothing"),
        (("measure", "9.1", "--short", "--stale"), "--short: keeps nothing"),
        (("measure", "9.1", "--stability", "--resume"), "--stability: varies what is kept"),
        (("measure", "9.1", "--short", "--out", "FILE"), "--short: keeps nothing"),
        (("measure", "9.1", "--jobs", "-3"), "--jobs: expected 1 or more"),
        (("claims", "--jsn"), "unrecognized arguments: --jsn"),
        (("measure", "9.9"), "aelib: id: expected a claim's, got '9.9'; did you mean '9.1'?"),
        (("measure", "9.1", "--out", "FILE"), "aelib: cannot write"),
    ],
)
def test_bad_input_is_status_2_in_plain_words(capsys, laboratory, tmp_path, arguments, message):
    (tmp_path / "file").write_text("")
    status, out, err = run(capsys, *[tmp_path / "file" if a == "FILE" else a for a in arguments])
    assert (status, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("too dark"), "aelib: too dark"),
        (RuntimeError("too dark"), "aelib: RuntimeError: too dark"),
    ],
)
def test_an_experiments_own_error_is_told_plainly(capsys, monkeypatch, laboratory, error, message):
    def fails(seeds):
        raise error

    put(monkeypatch, made(fails))
    status, out, err = run(capsys, "measure", "9.1")
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(message)
    assert not (laboratory / "9.1.json").exists()


def test_an_environment_that_is_wrong_is_told_plainly(capsys, monkeypatch):
    monkeypatch.setenv("AELIB_PROFILE", "huge")
    status, _, err = run(capsys, "doctor")
    assert status == 2
    assert err == "aelib: AELIB_PROFILE: expected a known name, got 'huge'; known: 'cpu', 'gpu'\n"


# --- As a program --------------------------------------------------------------------------------


def program(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "aelib", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # if we ignore it
        **options,
    )


def test_a_reader_who_has_seen_enough():
    running = program("claims", "--json")
    running.stdout.close()
    err = running.stderr.read()
    running.stderr.close()
    assert (running.wait(), err) == (0, "")


# --- Inversion -----------------------------------------------------------------------------------


@pytest.fixture
def photograph(tmp_path):
    """An image file, 40 × 48 pixels of colour."""
    from PIL import Image

    values = torch.rand(48, 40, 3, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "cat.png"
    Image.fromarray((values * 255).byte().numpy()).save(path)
    return path


def small(*more):
    return ("--model", "resnet18", "--size", 32, *more)


def test_layers_lists_what_can_be_inverted(capsys):
    status, out, err = run(capsys, "layers", *small())
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["layer", "kind", "shape", "elements", "share"]
    (layer1,) = (line.split() for line in lines if line.startswith("layer1 "))
    assert layer1[1:] == ["Sequential", "64", "×", "8", "×", "8", "4,096", "1.33"]
    assert any("runs 2 times" in line for line in lines)
    status, out, _ = run(capsys, "layers", *small("--json"))
    assert status == 0
    assert json.loads(out)[-1]["name"] == "output"


def test_invert_writes_pictures_and_numbers(capsys, tmp_path, photograph):
    out_folder = tmp_path / "new" / "out"
    status, out, err = run(
        capsys, "invert", *small("--image", photograph, "--layers", "layer1", "layer2"),
        "--seeds", 2, "--steps", 3, "--until", 0.001, "--out", out_folder, "--json",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert {one.name for one in out_folder.iterdir()} == {
        "grid.png", "result.json", "run.json", "table.csv", "left_out.csv", "chunks",
        *(f"layer{i}_cat_seed{s}.png" for i in (1, 2) for s in (0, 1)),
    }  # fmt: skip
    result = json.loads(out)
    assert result == json.loads((out_folder / "result.json").read_text())
    assert result["model"] == "resnet18"
    assert result["seeds"] == [0, 1]
    layer = result["layers"]["layer2"]
    assert [len(row) for row in layer["m_g"]] == [1, 1]
    assert layer["stopped"] == [["steps"], ["steps"]]
    assert all(row[0] > 0 for row in layer["m_r"])


@pytest.mark.parametrize(("given", "expected"), [
    ((0.5,), 0.5), (("levelled off",), "levelled off"),
    ((0.5, "levelled off"), [0.5, "levelled off"]),
])  # fmt: skip
def test_invert_takes_several_endings(capsys, monkeypatch, tmp_path, photograph, given, expected):
    class Enough(Exception):
        pass

    def asked(*given, until, **how):
        assert until == expected
        raise Enough

    monkeypatch.setattr(ae.inversion, "invert_folder", asked)
    status, _, err = run(
        capsys, "invert", *small("--image", photograph, "--layers", "layer1"), "--until", *given,
        "--out", tmp_path,
    )  # fmt: skip
    assert (status, err) == (2, "aelib: Enough: \n")


def test_invert_takes_a_folder_and_goes_on(capsys, monkeypatch, tmp_path, photograph):
    root, out_folder = photograph.parent / "in", tmp_path / "out"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        (root / name / "cat.png").write_bytes(photograph.read_bytes())
    (root / "text.png").write_text("no image")
    arguments = ("invert", *small("--images", root, "--layers", "layer1", "--out", out_folder),
                 "--steps", 2, "--chunk", 1, "--batch-size", 1)  # fmt: skip
    inverted, calls = inversion_folder.invert, []

    def stopped(*given, **how):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return inverted(*given, **how)

    monkeypatch.setattr(inversion_folder, "invert", stopped)
    status, out, err = run(capsys, *arguments)
    assert (status, err) == (130, "")
    assert out.startswith(f"stopped: 1 of 3 chunks are kept in {out_folder}; call again with")
    status, out, err = run(capsys, *arguments)
    assert (status, err, len(calls)) == (0, "", 3)
    assert "left out, 1 of 3 images: text.png (in no format that Pillow knows)" in out
    assert f"inverted 2 images, written to {out_folder}" in out
    assert {one.name for one in out_folder.iterdir()} == {
        "grid.png", "run.json", "table.csv", "left_out.csv", "chunks",
    }  # fmt: skip
    status, out, err = run(capsys, *arguments, "--json")
    assert (status, json.loads(out)["model"]) == (0, "resnet18")
    status, out, err = run(capsys, *arguments, "--seeds", 2)
    assert (status, out) == (2, "")
    assert "which holds one with seeds 1, now 2" in err


def test_invert_takes_the_published_recipe_and_a_file_of_weights(capsys, tmp_path, photograph):
    from aelib import models

    weights = tmp_path / "weights.pt"
    torch.save(models.classifier("resnet18", seed=5).state_dict(), weights)
    status, out, _ = run(
        capsys, "invert", *small("--image", photograph, "--layers", "layer1"), "--weights", weights,
        "--recipe", "badger2022", "--steps", 2, "--precision", "bf16", "--out", tmp_path / "o",
    )  # fmt: skip
    assert status == 0
    assert "written to" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--layers", "layr1"), "did you mean 'layer1'"),
        (("--layers", "layer1.0.relu"), "runs 2 times"),
        (("--layers", "layer1", "--steps", 0), "steps: expected 1 or more"),
        (("--layers", "layer1", "--seeds", 0), "seeds: expected 1 or more"),
        (("--layers", "layer1", "--recipe", "fast"), "recipe: expected a known name"),
        (("--layers", "layer1", "--precision", "f8"), "precision: expected a known name"),
        (("--layers", "layer1", "--weights", "none.pt"), "none.pt"),
        (("--layers", "layer1", "--size", 64), "size: expected 40 or less"),
        (("--layers", "layer1", "--batch-size", 0), "batch_size: expected 1 or more"),
        (("--layers", "layer1", "--chunk", 0, "--images", "."), "not allowed with argument"),
        (("--layers", "layer1", "--model", "resnet19"), "did you mean 'resnet1"),
    ],
)
def test_invert_says_plainly_what_is_wrong(capsys, tmp_path, photograph, arguments, told):
    status, _, err = run(
        capsys, "invert", *small("--image", photograph, "--out", tmp_path / "o"), *arguments
    )
    assert status == 2
    assert told in err


def test_invert_refuses_what_is_no_image(capsys, tmp_path, photograph):
    text = tmp_path / "cat.txt"
    text.write_text("no image")
    ending = ("--layers", "layer1", "--out", tmp_path / "o")
    for given, told in (
        ((text,), "none of 1: "),
        ((tmp_path / "none.png",), "there is no file"),
        ((photograph, photograph), "different names"),
    ):
        status, _, err = run(capsys, "invert", *small("--image", *given), *ending)
        assert status == 2
        assert told in err


def test_ctrl_c_keeps_what_was_inverted(tmp_path, photograph):
    out = tmp_path / "o"
    command = [sys.executable, "-m", "aelib", "invert", "--image", photograph, "--out", out]
    command += ["--model", "resnet18", "--size", "32", "--layers", "layer1", "layer2"]
    process = subprocess.Popen(
        [*map(str, command), "--steps", "1000000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "AELIB_INTERACTIVE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    bar = ""
    while not re.search(r" [1-9]\d*/\d+ \[", bar):  # the loop is under way
        bar += process.stderr.read(1)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "pictures written to" in printed
    assert "stopped: 0 of 1 chunks are kept" in printed
    result = json.loads((out / "result.json").read_text())
    assert result["layers"]["layer1"]["stopped"] == [["interrupted"]]
    assert list(result["layers"]) == ["layer1"]
    assert (out / "grid.png").is_file()


def test_measure_runs_an_experiment_once_however_many_of_its_claims_are_named(
    capsys, monkeypatch, laboratory
):
    asked = []
    monkeypatch.setattr(experiments, "measure", lambda id, *rest: asked.append(id) or [])
    assert run(capsys, "measure", "9.1", "9.1")[0] == 0
    assert asked == ["9.1"]
