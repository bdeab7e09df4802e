"""`python -m aelib`: exit statuses, what goes to stdout and stderr, never a stack trace."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from aelib import claims
from aelib.__main__ import main

SAID = "Claim 2.1 {bdg-success}`supported`"
DEFINE = """
import aelib as ae

@ae.claims.experiment("2.1", short={"n": 1}, long={"n": 2})
def run(n):
    BODY
    return {"kappa": [n, n, n]}
"""


def chapter(folder: Path, prose=SAID, body="pass", judged=True):
    """A made-up chapter: prose, an experiment, a card."""
    card = claims.Claim(
        id="2.1", statement="It holds", source="here", measure="kappa", unit="dB",
        supported={"kappa": claims.below(3)}, controls=["kappa", "none"], fails_when="never",
    ).judge({"kappa": [1, 2, 2], "none": [0, 0, 0]})  # fmt: skip
    data, metadata = card._repr_mimebundle_()
    output = {"output_type": "execute_result", "data": data, "metadata": metadata}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": prose},
        {
            "cell_type": "code",
            "metadata": {"tags": ["define"]},
            "source": DEFINE.replace("BODY", body),
            "outputs": [output] if judged else [],
        },
    ]
    folder.mkdir(exist_ok=True)
    (folder / "02.ipynb").write_text(json.dumps({"cells": cells}))
    return str(folder)


def run(capsys, *arguments):
    """The exit status, stdout and stderr of one command."""
    try:
        status = main([str(one) for one in arguments])
    except SystemExit as stopped:
        status = stopped.code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return status, captured.out, captured.err


def test_claims_prints_the_ledger(capsys, tmp_path):
    status, out, err = run(capsys, "claims", chapter(tmp_path))
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        " 2.1  supported    It holds",
        "                   kappa: 1.67 [1, 2] dB, 3 seeds",
        "                   control, none: 0 [0, 0]",
    ]


def test_claims_for_programs(capsys, tmp_path):
    status, out, err = run(capsys, "claims", chapter(tmp_path), "--json")
    assert (status, err) == (0, "")
    [record] = json.loads(out)
    assert (record["id"], record["verdict"], record["seeds"]) == ("2.1", "supported", 3)


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_disagreement_is_status_1_and_goes_to_stderr(capsys, tmp_path, arguments):
    folder = chapter(tmp_path, prose=SAID.replace("success", "danger"))
    status, out, err = run(capsys, "claims", folder, *arguments)
    assert status == 1
    assert err.startswith("does not agree: claim 2.1 is supported, but the prose says")
    assert "2.1" in out


def test_a_ledger_without_claims_is_status_1(capsys, tmp_path):
    status, _, err = run(capsys, "claims", chapter(tmp_path, prose="", judged=False))
    assert status == 1
    assert "no claims in the notebooks' stored outputs" in err


def test_measure_keeps_and_says_where(capsys, tmp_path):
    status, out, err = run(capsys, "measure", "2.1", "--folder", chapter(tmp_path))
    assert status == 0
    assert out.startswith(f"kept in {tmp_path / 'measured' / '2.1.json'} after ")
    assert "measuring claim 2.1 at full length" in err
    elsewhere = tmp_path / "else" / "where"
    assert run(capsys, "measure", "2.1", "--folder", tmp_path, "--out", elsewhere)[0] == 0
    assert (elsewhere / "2.1.json").exists()


def test_doctor(capsys):
    status, out, err = run(capsys, "doctor")
    assert (status, err) == (0, "")
    for word in ("profile", "torch", "machine:", "cache for downloads:"):
        assert word in out


def test_help(capsys):
    for arguments in (("--help",), ("claims", "--help"), ("measure", "-h"), ("doctor", "-h")):
        status, out, _ = run(capsys, *arguments)
        assert status == 0
        assert "usage: python -m aelib" in out
    assert {"claims", "measure", "doctor"} <= set(run(capsys, "--help")[1].split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: command"),
        (("claimz",), "invalid choice: 'claimz'"),
        (("measure",), "the following arguments are required: id"),
        (("claims", "--jsn"), "unrecognized arguments: --jsn"),
        (("claims", "MISSING"), "aelib: no notebooks in "),
        (("measure", "9.9", "--folder", "CHAPTERS"), "aelib: claim '9.9' has no long measurement"),
        (("measure", "2.1", "--folder", "MISSING"), "aelib: no notebooks in "),
        (("measure", "2.1", "--folder", "CHAPTERS", "--out", "FILE"), "aelib: cannot write"),
        (("claims", "BROKEN"), "03.ipynb is not a notebook"),
        (("measure", "2.1", "--folder", "BROKEN"), "03.ipynb is not a notebook"),
    ],
)
def test_bad_input_is_status_2_in_plain_words(capsys, tmp_path, arguments, message):
    places = {
        "CHAPTERS": chapter(tmp_path / "good"),
        "BROKEN": chapter(tmp_path / "broken"),
        "MISSING": tmp_path / "missing",
        "FILE": tmp_path / "good" / "02.ipynb",
    }
    (tmp_path / "broken" / "03.ipynb").write_text("{")
    status, out, err = run(capsys, *[places.get(one, one) for one in arguments])
    assert (status, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise ValueError('too dark')", "aelib: too dark"),
        ("raise RuntimeError('too dark')", "aelib: RuntimeError: too dark"),
        ("n = nothing", "aelib: NameError: name 'nothing' is not defined"),
        ("return {'kappa': [float('nan')] * 3}", "aelib: claim 2.1, kappa: expected finite"),
    ],
)
def test_a_chapters_own_error_is_told_plainly(capsys, tmp_path, body, told):
    status, out, err = run(capsys, "measure", "2.1", "--folder", chapter(tmp_path, body=body))
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(told)
    assert not (tmp_path / "measured" / "2.1.json").exists()


def test_an_environment_that_is_wrong_is_told_plainly(capsys, monkeypatch):
    monkeypatch.setenv("AELIB_PROFILE", "huge")
    status, _, err = run(capsys, "doctor")
    assert status == 2
    assert err == "aelib: the environment variable AELIB_PROFILE is 'huge'; known: 'cpu', 'gpu'\n"


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


def test_ctrl_c_stops_a_measurement(tmp_path):
    body = "open('started', 'w').close(); import time; time.sleep(60)"
    folder = chapter(tmp_path, body=body)
    (tmp_path / "measured").mkdir()
    (tmp_path / "measured" / "2.1.json").write_text("old")
    started = tmp_path / "started"
    running = program("measure", "2.1", "--folder", folder, cwd=tmp_path)
    while not started.exists() and running.poll() is None:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (130, "")
    assert err.endswith("aelib: stopped; what was kept before is untouched\n")
    assert "Traceback" not in err
    assert (tmp_path / "measured" / "2.1.json").read_text() == "old"
    assert len(list((tmp_path / "measured").iterdir())) == 1


def test_a_reader_who_has_seen_enough(tmp_path):
    running = program("claims", chapter(tmp_path), "--json")
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
        "grid.png", "result.json",
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
        (("--layers", "layer1", "--recipe", "fast"), "recipe is 'fast'"),
        (("--layers", "layer1", "--precision", "f8"), "precision is 'f8'"),
        (("--layers", "layer1", "--weights", "none.pt"), "there is no file none.pt"),
        (("--layers", "layer1", "--size", 64), "give a smaller size"),
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
        ((text,), "cannot be read"),
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
    assert "written to" in printed
    result = json.loads((out / "result.json").read_text())
    assert result["layers"]["layer1"]["stopped"] == [["interrupted"]]
    assert list(result["layers"]) == ["layer1"]
    assert (out / "grid.png").is_file()
