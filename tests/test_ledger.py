"""press.ledger: every claim's record from stored notebooks, held to the prose."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from aelib import claims
from press.ledger import RECORD, disagreements, ledger, said

SUPPORTED = "Claim 2.1 {bdg-success}`supported`"


def card(id: str = "2.1", kappa: float = 0.01) -> claims.Card:
    """A judged claim: supported for a small kappa."""
    claim = claims.Claim(
        id=id, statement="It copies", source="section 2", reading="kappa", measure="coefficient",
        supported={"kappa": claims.below(0.1)}, conditional={"kappa": claims.below(0.5)},
        controls=["identity"], fails_when="Never.", unit="dB",
    )  # fmt: skip
    return claim.judge({"kappa": [kappa] * 3, "identity": [1.0] * 3})


def write(folder: Path, name: str, *cells: str | claims.Card | dict) -> None:
    """A notebook of prose (a text) and of cells with an output (a card, or a bundle's metadata)."""
    made = []
    for cell in cells:
        if isinstance(cell, str):
            made.append(nbformat.v4.new_markdown_cell(cell))
            continue
        data, metadata = cell._repr_mimebundle_() if isinstance(cell, claims.Card) else ({}, cell)
        output = nbformat.v4.new_output("display_data", data, metadata=metadata)
        made.append(nbformat.v4.new_code_cell("card", outputs=[output]))
    folder.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=made), folder / f"{name}.ipynb")


def test_the_ledger_is_what_the_outputs_hold(tmp_path):
    write(tmp_path, "02_b", card("2.10"), card("2.9"))
    write(tmp_path, "01_a", "words", card("1.3"))
    found = ledger(tmp_path)
    assert [(record["id"], record["notebook"]) for record in found] == [
        ("1.3", "01_a"),
        ("2.9", "02_b"),
        ("2.10", "02_b"),
    ]
    place = {"notebook": "02_b", "anchor": "claim-2-10"}
    assert found[2] == card("2.10").record | place
    assert set(RECORD) <= set(found[2])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (SUPPORTED, []),
        (f"So it is: {SUPPORTED.replace(' {', chr(10) + '{')}, twice. {SUPPORTED}", []),
        ("Nothing.", ["claim 2.1 is supported, and the prose does not say so"]),
        ("Claim 2.1 `supported`", ["claim 2.1 is supported, and the prose does not say so"]),
        (
            "Claim 2.1 {bdg-danger}`refuted`",
            ["claim 2.1 is supported, but the prose says refuted"],
        ),
        (
            f"{SUPPORTED} Claim 2.1 {{bdg-warning}}`conditional`",
            ["claim 2.1 is supported, but the prose says conditional and supported"],
        ),
        (
            "Claim 2.1 {bdg-danger}`supported`",
            [
                "claim 2.1 is supported, but the prose says supported and supported in the colour "
                "of refuted"
            ],
        ),
        (
            f"{SUPPORTED} Claim 2.2 {{bdg-success}}`supported`",
            ["claim 2.2 stands in the prose but was never judged"],
        ),
    ],
)
def test_prose_and_verdicts_must_agree(tmp_path, words, expected):
    write(tmp_path, "02", words, card())
    assert disagreements(tmp_path) == expected


def test_a_claim_judged_twice(tmp_path):
    write(tmp_path, "02", SUPPORTED, card())
    write(tmp_path, "03", card())
    assert "claim 2.1 is judged 2 times" in disagreements(tmp_path)


def test_code_that_looks_like_prose_is_not_prose(tmp_path):
    cell = nbformat.v4.new_code_cell(f"# {SUPPORTED}")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "02.ipynb")
    assert said(tmp_path) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        '{"cells": 3}',
        '{"cells": [3], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
        '{"cells": [{"cell_type": "code", "metadata": {}, "source": 3, "outputs": []}], '
        '"metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
    ],
)
def test_a_broken_notebook_is_named(tmp_path, text):
    (tmp_path / "05_broken.ipynb").write_text(text)
    with pytest.raises(ValueError, match=r"05_broken\.ipynb is not a notebook"):
        ledger(tmp_path)


def test_a_record_of_another_time_is_named(tmp_path):
    old = card().record
    del old["rule"]
    write(tmp_path, "02", {"claim": old})
    with pytest.raises(ValueError, match=r"claim 2.1 lacks \['rule'\]; execute the notebook again"):
        ledger(tmp_path)


def test_the_command_prints_what_does_not_agree(tmp_path):
    def command(*options: str) -> subprocess.CompletedProcess[str]:
        options = ("-m", "press.ledger", str(tmp_path), *options)
        return subprocess.run([sys.executable, *options], capture_output=True, text=True)

    assert "no notebooks in" in command().stderr
    write(tmp_path, "02", SUPPORTED, card())
    done = command("--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["id"] == "2.1"
    write(tmp_path, "02", SUPPORTED, card(kappa=0.9))
    done = command()
    assert done.returncode == 1
    assert "does not agree: claim 2.1 is refuted, but the prose says supported" in done.stderr
