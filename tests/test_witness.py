"""Every kept run still speaks for today's code: the short run gives what it gave beside it.

A chapter that made the short run has its numbers stored; of the others the short run is made here.
"""

from __future__ import annotations

import types

import pytest

from aelib import experiments
from press import ledger

STORED = {record["id"]: record for record in ledger.ledger()}


@pytest.mark.parametrize("id", experiments.each())
def test_a_kept_run_speaks_for_todays_code(id: str) -> None:
    claims = experiments.find(id).claims
    lives = [STORED.get(claim.id, {}).get("live") for claim in claims]
    result = None if all(lives) else experiments.short(id)
    wrong = []
    for claim, live in zip(claims, lives, strict=True):
        if result is not None:
            today = claim.read(result.readings)
        else:
            today = {
                name: types.SimpleNamespace(value=one["value"])
                for name, one in live["readings"].items()
            }
        wrong += experiments.stale(claim.id, today)
    assert not wrong


@pytest.mark.parametrize("record", STORED.values(), ids=STORED)
def test_the_chapter_shows_the_verdict_of_the_kept_run(record: dict) -> None:
    kept = experiments.kept(record["id"])
    assert record["verdict"] == experiments.claim(record["id"]).judge(None, kept).verdict
