"""claims: rules and verdicts, cards, the ledger against the prose, and long measurements."""

from __future__ import annotations

import html.parser
import json
import math
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aelib import claims
from aelib.claims import above, below, between


def claim(**changes):
    return claims.Claim(
        **{
            "id": "2.1",
            "statement": "It copies <nothing> & more",
            "source": "section 2",
            "measure": "copy coefficient",
            "supported": {"kappa": below(0.1), "identity": above(0.9)},
            "conditional": {"kappa": below(0.5)},
            "fails_when": "The start is biased.",
            "controls": ["identity"],
            "unit": "dB",
            **changes,
        }
    )


def readings(kappa=(0.01, 0.02, 0.03), identity=(1.0, 1.0, 1.0), **more):
    return {"kappa": kappa, "identity": identity, **more}


# --- Rules ---------------------------------------------------------------------------------------


def test_the_rule_is_told_in_the_words_of_its_bounds():
    assert claim().rule == (
        "supported if kappa below 0.1 and identity above 0.9; conditional if kappa below 0.5; "
        "otherwise refuted"
    )
    plain = claim(supported={"kappa": between(-1, 2.5)}, conditional={})
    assert plain.rule == "supported if kappa between −1 and 2.5; otherwise refuted"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "0.0123"), (1298.3, "1,298"), (-2.5e-5, "−2.5e−5"), (2e7, "2e7"), (-3.0, "−3")],
)
def test_a_card_prints_three_digits_and_no_exponent_that_can_be_spared(value, text):
    assert (
        f"<data>{text}</data>"
        in claim().judge({"kappa": [value] * 3, "identity": [1.0] * 3})._html()
    )


numbers = st.floats(-1e9, 1e9, allow_nan=False)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(numbers, numbers)
def test_no_digit_of_a_bound_is_lost_in_words(low, high):
    def number(words):
        return float(words.replace("−", "-"))

    assert number(str(below(high)).removeprefix("below ")) == high
    assert number(str(above(low)).removeprefix("above ")) == low
    if low < high:
        told = re.fullmatch(r"between (\S+) and (\S+)", str(between(low, high)))
        assert [number(one) for one in told.groups()] == [low, high]
    else:
        with pytest.raises(ValueError, match="a bound needs a lower limit below its upper one"):
            between(low, high)


@pytest.mark.parametrize("limit", [math.nan, math.inf])
def test_a_bound_has_a_limit(limit):
    for build in (below, above):
        if not (build is above and limit == math.inf):
            with pytest.raises(ValueError, match="a bound needs"):
                build(limit)


@pytest.mark.parametrize(
    ("low", "high", "inside"),
    [
        (0.2, 0.3, True),
        (0.1, 0.3, False),  # on the edge is not inside
        (0.2, 0.4, False),
        (0.0, 0.3, False),  # straddles
        (0.2, 0.5, False),
        (0.0, 0.5, False),
        (0.5, 0.6, False),
    ],
)
def test_the_whole_interval_must_lie_inside(low, high, inside):
    reading = claims.Reading((low, high), (low + high) / 2, low, high)
    assert between(0.1, 0.4).holds(reading) is inside
    assert below(0.4).holds(reading) is (high < 0.4)
    assert above(0.1).holds(reading) is (low > 0.1)


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (readings(), "supported"),
        (readings(kappa=[0.01, 0.02, 0.1]), "conditional"),  # the interval reaches the limit
        (readings(kappa=[0.01, 0.02, 0.2]), "conditional"),
        (readings(kappa=[0.01, 0.02, 0.5]), "refuted"),
        (readings(kappa=[0.7, 0.8, 0.9]), "refuted"),
        (readings(identity=[1.0, 1.0, 0.9]), "conditional"),  # the control does the same
        (readings(identity=[1.0, 1.0, 0.95]), "supported"),
    ],
)
def test_verdicts(measured, verdict):
    card = claim().judge(measured)
    assert card.verdict == verdict == card.record["verdict"]
    assert repr(card) == f"claim 2.1: {verdict}"


def test_without_a_condition_the_rest_is_refuted():
    assert claim(conditional={}).judge(readings(kappa=[0.2] * 3)).verdict == "refuted"


def test_three_seeds_have_their_own_range_as_interval():
    reading = claims.read([1.0, 2.0, 6.0])
    assert (reading.value, reading.low, reading.high) == (3.0, 1.0, 6.0)


@pytest.mark.parametrize(
    ("values", "listed"),
    [
        ([1, 2, 3], (1.0, 2.0, 3.0)),
        (np.array([1.0, 2.0, 3.0]), (1.0, 2.0, 3.0)),
        (torch.tensor([1.0, 2.0, 3.0]), (1.0, 2.0, 3.0)),
        ([torch.tensor(1.0), np.float64(2), 3], (1.0, 2.0, 3.0)),
        ((value for value in (1, 2, 3)), (1.0, 2.0, 3.0)),
    ],
)
def test_readings_come_as_any_row_of_numbers(values, listed):
    assert claims.read(values).values == listed


@pytest.mark.parametrize("value", [0.5, np.float64(0.5), torch.tensor(0.5), np.array(0.5), [0.5]])
def test_a_closed_form_is_one_number(value):
    exact = claim(kind="closed form", supported={"kappa": between(0.4, 0.6)}, controls=["kappa"])
    card = exact.judge({"kappa": value})
    assert card.verdict == "supported"
    assert (card.record["value"], card.record["low"], card.record["high"]) == (0.5, 0.5, 0.5)
    assert card.record["seeds"] == 0
    assert "this run</th>" in card._html()


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({"kappa": [1, 2, 3]}, r"claim 2.1: readings lack \['identity'\]; they have \['kappa'\]"),
        ({}, "readings lack"),
        (readings(kappa=[0.01]), "claim 2.1, kappa: a measured claim needs at least 3 seeds"),
        (readings(kappa=0.01), "at least 3 seeds .* got 1; train more with models.replicate"),
        (readings(kappa=[0.01, 0.02]), "got 2"),
        (readings(kappa=[]), "kappa: expected finite numbers"),
        (readings(kappa=[0.1, math.nan, 0.1]), r"kappa: expected finite numbers.*nan"),
        (readings(identity=[1, 1, math.inf]), "identity: expected finite numbers"),
        (readings(kappa=[[0.1], [0.2, 0.3], [0.1]]), "one number per seed"),
        (readings(kappa=torch.ones(3, 2)), "one number per seed"),
        (readings(kappa=None), "one number per seed"),
        (readings(extra=[1]), "extra: a measured claim needs"),
    ],
)
def test_readings_that_decide_nothing_are_refused(measured, message):
    with pytest.raises(ValueError, match=message):
        claim().judge(measured)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"id": "2"}, ValueError, 'id: expected chapter.number, such as "2.1"'),
        ({"id": "a.b"}, ValueError, "id"),
        ({"kind": "mesured"}, ValueError, "did you mean 'measured'"),
        ({"supported": {}}, ValueError, "claim 2.1: supported= must name"),
        ({"controls": ()}, ValueError, "claim 2.1: controls= must name"),
        ({"controls": "identity"}, TypeError, "controls= takes a list"),
        ({"supported": {"kappa": 0.1}}, TypeError, "above"),
        ({"statement": " "}, ValueError, "statement must not be empty"),
        ({"fails_when": ""}, ValueError, "fails_when must not be empty"),
    ],
)
def test_a_claim_that_could_not_fail_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        claim(**changes)


# --- Cards ---------------------------------------------------------------------------------------

KEYS = {
    "id", "chapter", "statement", "kind", "verdict", "value", "low", "high", "seeds", "controls",
    "source", "measure", "rule", "fails_when", "unit",
}  # fmt: skip


def test_the_record_has_what_the_ledger_promises():
    record = claim().judge(readings(other=[5, 6, 7])).record
    assert set(record) >= KEYS
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert (record["id"], record["chapter"], record["seeds"]) == ("2.1", 2, 3)
    assert (record["value"], record["low"], record["high"]) == (0.02, 0.01, 0.03)
    assert record["controls"] == {"identity": {"value": 1.0, "low": 1.0, "high": 1.0}}
    assert record["conditions"] == {"other": {"value": 6.0, "low": 5.0, "high": 7.0}}
    assert record["rule"] == claim().rule


class Text(html.parser.HTMLParser):
    """The texts of a page, and which of them stand in <data>."""

    def __init__(self, page):
        super().__init__()
        self.open, self.inside, self.outside, self.classes = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        if tag != "br":  # which is never closed
            self.open.append(tag)
        self.classes += (dict(attributes).get("class") or "").split()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        (self.inside if "data" in self.open else self.outside).append(text)


def test_a_card_shows_numbers_only_where_they_may_move():
    first = claim().judge(readings())
    second = claim().judge(readings(kappa=[0.04, 0.05, 0.06]))
    data, metadata = first._repr_mimebundle_()
    assert data["text/plain"] == "claim 2.1: supported"
    assert metadata == {"claim": first.record}
    page, other = Text(data["text/html"]), Text(second._repr_mimebundle_()[0]["text/html"])
    assert page.inside[:3] == ["0.02", "0.01", "0.03"]
    assert page.inside != other.inside
    assert page.outside == other.outside  # what nbval compares
    assert "claim-supported" in page.classes
    told = " ".join(page.outside)
    for words in ("It copies <nothing> & more", claim().rule, "this run, 3 seeds", "(dB)"):
        assert words in told
    assert "control: identity" in told
    assert "<nothing>" not in data["text/html"]


def kept(**changes):
    return claims.Kept(
        **{
            "id": "2.1",
            "readings": readings(kappa=[0.2] * 5, identity=[1.0] * 5),
            "settings": {},
            "provenance": {"date": "2026-01-02T03:04:05+00:00", "fingerprint": "x"},
            **changes,
        }
    )


def test_a_kept_run_stands_beside_the_live_one():
    card = claim().judge(readings(), kept())
    assert (card.verdict, card.long_verdict) == ("supported", "conditional")
    assert card.record["long"] == {
        "verdict": "conditional", "value": pytest.approx(0.2), "low": pytest.approx(0.2),
        "high": pytest.approx(0.2), "seeds": 5, "date": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip
    page = Text(card._html())
    assert {"0.2", "2026-01-02"} <= set(page.inside)
    assert "kept run, 5 seeds" in " ".join(page.outside)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "2.2"}, "claim 2.1: kept= is the measurement of claim 2.2"),
        ({"readings": {"kappa": [1, 2, 3]}}, "kept measurement of claim 2.1: readings lack"),
        ({"readings": readings(kappa=[0.1, math.nan, 1])}, "kept measurement .* kappa: expected"),
        ({"readings": dict(reversed(readings().items()))}, "begins with 'identity'"),
    ],
)
def test_a_kept_run_of_something_else_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        claim().judge(readings(), kept(**changes))


def test_glue_stores_what_the_page_reads(monkeypatch):
    import IPython.display

    published = []
    monkeypatch.setattr(
        IPython.display, "publish_display_data", lambda *given: published.append(given)
    )
    claims.glue(best_gain=1.5, n=torch.tensor(2))
    kind = "application/papermill.record/"
    assert published == [
        ({kind + "text/plain": "1.5"}, {"scrapbook": {"name": "best-gain", "mime_prefix": kind}}),
        ({kind + "text/plain": "2.0"}, {"scrapbook": {"name": "n", "mime_prefix": kind}}),
    ]


# --- Made-up chapters ----------------------------------------------------------------------------


def markdown(text):
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def code(source, *tags, outputs=()):
    return {
        "cell_type": "code",
        "metadata": {"tags": list(tags)},
        "source": source,
        "outputs": list(outputs),
        "execution_count": None,
    }


def shown(card):
    data, metadata = card._repr_mimebundle_()
    return code(
        "card", outputs=[{"output_type": "execute_result", "data": data, "metadata": metadata}]
    )


def write(folder: Path, name: str, *cells):
    folder.mkdir(exist_ok=True)
    notebook = {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps(notebook))
    return path


SUPPORTED = "Claim 2.1 {bdg-success}`supported`"


def test_the_ledger_is_what_the_outputs_hold(tmp_path):
    tenth = claim(id="2.10").judge(readings(kappa=[0.7] * 3))
    ninth = claim(id="2.9").judge(readings())
    write(tmp_path, "02_b", shown(tenth), shown(ninth), code("1"))
    write(tmp_path, "01_a", markdown("words"), shown(claim(id="1.3").judge(readings())))
    found = claims.ledger(tmp_path)
    assert [(one["id"], one["notebook"]) for one in found] == [
        ("1.3", "01_a"),
        ("2.9", "02_b"),
        ("2.10", "02_b"),
    ]
    assert found[2].pop("notebook")
    assert found[2] == tenth.record


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
    write(tmp_path, "02", markdown(words), shown(claim().judge(readings())))
    assert claims.disagreements(tmp_path) == expected


def test_a_claim_judged_twice_or_otherwise_at_length(tmp_path):
    card = claim().judge(readings(), kept())
    write(tmp_path, "02", markdown(SUPPORTED), shown(card))
    assert claims.disagreements(tmp_path) == [
        "claim 2.1 is supported in the live run and conditional in the kept one"
    ]
    write(tmp_path, "03", shown(claim().judge(readings())))
    assert "claim 2.1 is judged 2 times" in claims.disagreements(tmp_path)


def test_code_that_looks_like_prose_is_not_prose(tmp_path):
    write(tmp_path, "02", code(f"# {SUPPORTED}"), shown(claim().judge(readings())))
    assert claims.said(tmp_path) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        '{"cells": 3}',
        '{"cells": [3]}',
        '{"cells": [{"cell_type": "code"}]}',
        '{"cells": [{"cell_type": "code", "metadata": {}, "source": 3}]}',
        '{"cells": [{"cell_type": "code", "metadata": {}, "source": "", "outputs": [3]}]}',
    ],
)
def test_a_broken_notebook_is_named(tmp_path, text):
    (tmp_path / "05_broken.ipynb").write_text(text)
    for function in (claims.ledger, claims.said, claims.disagreements, claims.stale):
        with pytest.raises(ValueError, match=r"05_broken\.ipynb is not a notebook"):
            function(tmp_path)


def test_a_record_of_another_time_is_named(tmp_path):
    old = claim().judge(readings())
    cell = shown(old)
    del cell["outputs"][0]["metadata"]["claim"]["rule"]
    write(tmp_path, "02", cell)
    with pytest.raises(ValueError, match=r"claim 2.1 lacks \['rule'\]; execute the notebook again"):
        claims.ledger(tmp_path)


def test_a_folder_without_chapters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (None, tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match=r"no notebooks in .*; run this in a clone"):
            claims.ledger(folder)
    write(tmp_path / "chapters", "01", markdown("x"))
    assert claims.find_chapters() == Path("chapters")
    assert claims.ledger() == []
    monkeypatch.chdir(tmp_path / "chapters")
    assert claims.find_chapters() == Path(".")


# --- Long measurements ---------------------------------------------------------------------------

SETUP = "import sys\nif 'google.colab' in sys.modules:\n    %pip install aelib\nimport aelib as ae"
DEFINE = """
SCALE = 2.0

def helper(seed, scale: "a number"):
    return seed * scale

@ae.claims.experiment("2.1", short={"seeds": 3, "scale": 0.5}, long={"seeds": 5, "scale": 1.0})
def run(seeds, scale):
    ran.append(seeds)
    values = [helper(seed, scale) * SCALE for seed in range(seeds)]
    return {"kappa": values, "identity": [1] * seeds}

ran = []
"""


def chapter(folder, define=DEFINE, prose="Prose.", setup=SETUP, extra="import nowhere"):
    return write(
        folder,
        "02",
        markdown(prose),
        code(setup, "setup"),
        code(define, "define"),
        code(extra),  # not run by `measure`
        code("run.short()"),
    )


def test_measure_keeps_readings_settings_and_where_they_come_from(tmp_path):
    chapter(tmp_path)
    path = claims.measure("2.1", tmp_path)
    assert path == tmp_path / "measured" / "2.1.json"
    assert [one.name for one in path.parent.iterdir()] == ["2.1.json"]
    stored = json.loads(path.read_text())
    assert stored["readings"] == {"kappa": [0.0, 2.0, 4.0, 6.0, 8.0], "identity": [1.0] * 5}
    assert stored["settings"] == {"seeds": 5, "scale": 1.0}
    assert stored["provenance"]["fingerprint"] == claims.current("2.1", tmp_path)
    assert set(stored["provenance"]) >= {"date", "seconds", "machine", "python", "torch", "aelib"}
    assert claims.kept("2.1", tmp_path) == claims.Kept(**stored)
    assert claims.kept("2.2", tmp_path) is None
    assert claims.stale(tmp_path) == []
    card = claim(supported={"kappa": below(9)}).judge(readings(), claims.kept("2.1", tmp_path))
    assert card.record["long"]["value"] == 4.0


def test_short_and_long_run_the_same_function():
    space = {}
    exec(f"import aelib as ae\n{DEFINE}", space)
    assert space["run"].short() == {"kappa": [0.0, 1.0, 2.0], "identity": [1.0, 1.0, 1.0]}
    assert space["run"].long()["kappa"] == [0.0, 2.0, 4.0, 6.0, 8.0]


@pytest.mark.parametrize(
    ("old", "new", "stale"),
    [
        ("seed * scale", "seed * scale + 1", True),  # a helper in a define cell
        ("SCALE = 2.0", "SCALE = 3.0", True),
        ('"scale": 1.0', '"scale": 1.5', True),  # the long settings
        ('"seeds": 5', '"seeds": 6', True),
        ("ran.append(seeds)", "pass", True),  # the function itself
        ("ran = []", "ran = []\nprint(SCALE)", True),  # code beside the definitions
        ('"scale": 0.5', '"scale": 0.6', False),  # the short settings
        ("SCALE = 2.0", "SCALE = 2.0  # why", False),
        ("ran = []", "ran = []\ndef other():\n    return 3", False),
    ],
)
def test_a_measurement_goes_stale_with_its_code(tmp_path, old, new, stale):
    chapter(tmp_path)
    claims.measure("2.1", tmp_path)
    assert old in DEFINE
    chapter(tmp_path, DEFINE.replace(old, new), prose="Other words.", extra="import elsewhere")
    told = "claim 2.1: its code or settings changed; run `python -m aelib measure 2.1`"
    assert claims.stale(tmp_path) == ([told] if stale else [])


def test_setting_up_is_no_part_of_a_measurement_but_what_it_defines_is(tmp_path):
    setup = SETUP.replace("pip install aelib", "pip install elsewhere") + "\nprint('hello')"
    chapter(tmp_path)
    claims.measure("2.1", tmp_path)
    chapter(tmp_path, setup=setup)
    assert claims.stale(tmp_path) == []
    inside = DEFINE.replace("SCALE = 2.0", "")
    for value in (2.0, 3.0):
        chapter(tmp_path, inside, setup=f"{SETUP}\nSCALE = {value}")
        assert len(claims.stale(tmp_path)) == (0 if value == 2.0 else 1)


def test_missing_and_forgotten_measurements(tmp_path):
    chapter(tmp_path)
    assert claims.stale(tmp_path) == [
        "claim 2.1 has no kept measurement; run `python -m aelib measure 2.1`"
    ]
    claims.measure("2.1", tmp_path)
    (tmp_path / "measured" / "2.7.json").write_text("{}")
    assert claims.stale(tmp_path) == [
        "2.7.json belongs to no experiment of the chapters; delete it"
    ]
    for text in ("", "[]", "{}", '{"id": "2.1", "readings": {}, "settings": {}, "provenance": {}}'):
        (tmp_path / "measured" / "2.1.json").write_text(text)
        with pytest.raises(ValueError, match=r"2\.1\.json is not a kept measurement; run"):
            claims.stale(tmp_path)


def test_kept_is_found_from_the_chapter_and_from_the_root(tmp_path, monkeypatch):
    chapter(tmp_path / "chapters")
    claims.measure("2.1", tmp_path / "chapters")
    for here in (tmp_path, tmp_path / "chapters"):
        monkeypatch.chdir(here)
        assert claims.kept("2.1").id == "2.1"


def test_what_cannot_be_measured_is_refused_before_the_run(tmp_path):
    path = chapter(tmp_path)
    with pytest.raises(
        ValueError, match=r"claim '2.2' has no long measurement; did you mean '2.1'"
    ):
        claims.measure("2.2", tmp_path)
    chapter(tmp_path, DEFINE.replace("ran.append(seeds)", "raise RuntimeError('it ran')"))
    with pytest.raises(OSError, match="cannot write a measurement to"):
        claims.measure("2.1", tmp_path, out=path / "below")
    with pytest.raises(OSError, match="cannot write a measurement to"):
        claims.measure("2.1", tmp_path, out="/proc/nowhere")
    write(tmp_path, "02", code("print(1)", "define"))
    with pytest.raises(ValueError, match=r"claim '2\.1' has no long measurement; none has"):
        claims.measure("2.1", tmp_path)
    chapter(tmp_path, DEFINE + "\nrun = None")
    with pytest.raises(ValueError, match="leaves its experiment undefined"):
        claims.measure("2.1", tmp_path)
    chapter(tmp_path, DEFINE + DEFINE)
    with pytest.raises(ValueError, match=r"claim 2.1 has two experiments; the second is in .*02"):
        claims.measure("2.1", tmp_path)
    chapter(tmp_path, "def (")
    with pytest.raises(ValueError, match=r"02\.ipynb: a cell tagged define: .*syntax"):
        claims.experiments(tmp_path)


def test_only_a_real_experiment_counts(tmp_path):
    chapter(tmp_path, '# experiment("9.9")\ntext = \'experiment("9.8")\'\n' + DEFINE)
    assert list(claims.experiments(tmp_path)) == ["2.1"]
    named = DEFINE.replace('experiment("2.1", short', 'experiment(id="2.1", short')
    chapter(tmp_path, named)
    assert list(claims.experiments(tmp_path)) == ["2.1"]


def test_readings_that_are_not_finite_are_not_kept(tmp_path):
    chapter(tmp_path)
    path = claims.measure("2.1", tmp_path)
    before = path.read_bytes()
    chapter(tmp_path, DEFINE.replace("SCALE = 2.0", "SCALE = float('nan')"))
    with pytest.raises(ValueError, match=r"claim 2\.1, kappa: expected finite numbers"):
        claims.measure("2.1", tmp_path)
    assert path.read_bytes() == before


def test_a_measurement_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    chapter(tmp_path)
    path = claims.measure("2.1", tmp_path)
    before = path.read_bytes()
    chapter(tmp_path, DEFINE.replace("SCALE = 2.0", "SCALE = 3.0"))

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        claims.measure("2.1", tmp_path)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


TRAINS = """
import os, signal, torch
@ae.claims.experiment("2.1", short={"stop": False}, long={"stop": STOP})
def run(stop):
    images = torch.rand(9, 1, 2, 2)
    net = ae.models.MLPAutoencoder((1, 2, 2), width=3, depth=1)
    watch = {"x": lambda net: os.kill(os.getpid(), signal.SIGINT) or 0} if stop else {}
    history = ae.fit(net, images, steps=5, watch=watch)
    return {"kappa": [len(history.steps)] * 3, "identity": [1] * 3}
"""


def test_ctrl_c_in_a_long_training_stops_and_keeps_the_old(tmp_path):
    """`fit` alone would return early, and half a training would be kept as a whole one."""
    chapter(tmp_path, TRAINS.replace("STOP", "False"))
    path = claims.measure("2.1", tmp_path)
    before = path.read_bytes()
    chapter(tmp_path, TRAINS.replace("STOP", "True"))
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            claims.measure("2.1", tmp_path)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_the_chapters_code_runs_as_it_would_in_the_chapter(tmp_path):
    """Annotations are evaluated: this package's own `from __future__` must not leak in."""
    chapter(tmp_path, DEFINE + "\nassert helper.__annotations__ == {'scale': 'a number'}")
    claims.measure("2.1", tmp_path)
    chapter(tmp_path, DEFINE + "\ndef f(x: 1 + 1): ...\nassert f.__annotations__ == {'x': 2}")
    claims.measure("2.1", tmp_path)


def test_the_fingerprint_is_of_the_code_that_ran(tmp_path):
    """The notebook is edited while the long run is under way."""
    edited = DEFINE.replace("seed * scale", "seed * scale + 1")
    path = chapter(tmp_path)
    whole = path.read_text()
    chapter(tmp_path, edited)
    other = path.read_text()
    edit = f"import pathlib; pathlib.Path({str(path)!r}).write_text({other!r}); ran.append(seeds)"
    path.write_text(whole)
    chapter(tmp_path, DEFINE.replace("ran.append(seeds)", edit))
    ran_as = claims.current("2.1", tmp_path)
    claims.measure("2.1", tmp_path)
    assert path.read_text() == other
    assert claims.kept("2.1", tmp_path).provenance["fingerprint"] == ran_as
    assert len(claims.stale(tmp_path)) == 1


@pytest.mark.parametrize(
    ("short", "message"),
    [
        ({"seeds": 3, "scale": 1, "scael": 1}, "experiment 2.1, short: got an unexpected keyword"),
        ({"seeds": 3}, "missing a required argument: 'scale'"),
        ({"seeds": 3, "scale": object()}, "not JSON serializable"),
        ({"seeds": 3, "scale": math.nan}, "experiment 2.1, short"),
    ],
)
def test_settings_that_could_not_be_used_or_kept(short, message):
    def run(seeds, scale):
        return {}

    with pytest.raises(TypeError, match=message):
        claims.experiment("2.1", short=short, long={"seeds": 5, "scale": 1})(run)
