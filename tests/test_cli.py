"""`python -m aelib`: exit statuses, what goes to stdout and stderr, never a stack trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
