"""A made-up experiment in place of the book's, for the tests of the laboratory."""

from __future__ import annotations

import os

import aelib as ae
from aelib import random
from aelib.claims import above
from aelib.experiments import Experiment, Result
from aelib.experiments import experiment as room

CLAIM = ae.Claim(
    id="9.1",
    statement="It copies.",
    source="nowhere",
    reading="kappa",
    measure="copy coefficient",
    supported={"kappa": above(0.5)},
    controls=["identity"],
    fails_when="Never.",
    unit="dB",
)


def made(run, short=None, full=None, claims=(CLAIM,)) -> Experiment:
    return Experiment(claims, run, short or {"seeds": 3}, full or {"seeds": 5})


def plain(seeds, value=1.0) -> Result:
    return Result({"kappa": [value] * seeds, "identity": [1.0] * seeds, "more": [0]})


def by_process(seeds) -> Result:
    """Which seed, and which process drew it."""
    first = random.moved(0)
    values = [float(first + seed) for seed in range(seeds)]
    return Result({"kappa": values, "identity": [float(os.getpid())] * seeds})


def put(monkeypatch, experiment) -> None:
    """Make an experiment the only one there is."""
    known = {claim.id: experiment for claim in experiment.claims}
    monkeypatch.setattr(room, "experiments", lambda: known)
