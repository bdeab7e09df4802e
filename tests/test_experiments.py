"""experiments: found by claim, run short and full, kept whole, and told when they go stale."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import types

import pytest
import torch
from laboratory import CLAIM, made, plain, put

import aelib as ae
from aelib import experiments
from aelib.experiments import experiment as room
from press import ledger


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
    assert (card.verdict, card.full_verdict) == ("supported", "supported")


def test_a_kept_run_is_stale_when_the_short_run_gives_something_else(laboratory, tmp_path):
    laboratory(made(plain))
    experiments.measure("9.1", tmp_path)
    today = experiments.card("9.1", experiments.short("9.1"), tmp_path).readings
    assert experiments.stale("9.1", today, tmp_path) == []
    other = CLAIM.read(plain(3, value=1.1).readings)
    (line,) = experiments.stale("9.1", other, tmp_path)
    assert "claim 9.1, kappa: the short run gives 1.1" in line
    assert "measure 9.1" in line
    assert experiments.stale("9.1", {"identity": today["identity"]}, tmp_path) == []
    assert experiments.stale("9.1", {}, tmp_path / "nowhere") == []


def test_another_profile_is_not_shown_what_was_kept(laboratory, tmp_path, monkeypatch):
    laboratory(made(plain))
    experiments.measure("9.1", tmp_path)
    assert experiments.kept("9.1", tmp_path) is not None
    monkeypatch.setenv("AELIB_PROFILE", "gpu")
    assert experiments.kept("9.1", tmp_path) is None


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
        ({"kappa": [1.0], "identity": [1.0]}, "at least 3 seeds"),
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
    assert (record["id"], record["verdict"], record["seeds"]) == ("9.1", "supported", 5)
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("record", ledger.ledger(), ids=lambda record: record["id"])
def test_kept_runs_speak_for_the_code_of_the_chapters(record):
    """The short run stored in the chapter is still the one that stood beside the full run."""
    readings = {record["quantity"]: record, **record["controls"], **record["conditions"]}
    today = {name: types.SimpleNamespace(value=one["value"]) for name, one in readings.items()}
    assert experiments.stale(record["id"], today) == []
    kept = experiments.kept(record["id"])
    if kept:  # and the full run has all that the claim asks for
        experiments.claim(record["id"]).read(kept.readings)
