"""claims: rules and verdicts, and the cards that show them."""

from __future__ import annotations

import html.parser
import json
import math
import re

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
            "reading": "kappa",
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
        "refuted if the opposite of a condition in each holds, one on a control aside; "
        "else undecided"
    )
    plain = claim(
        supported={"kappa": between(-1, 2.5)}, conditional={}, refuted={"kappa": above(3)}
    )
    assert plain.rule == (
        "supported if kappa between −1 and 2.5; refuted if kappa above 3; else undecided"
    )


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
        (readings(kappa=[0.01, 0.02, 0.5]), "undecided"),  # and beyond both
        (readings(kappa=[0.4, 0.5, 0.6]), "undecided"),
        (readings(kappa=[0.7, 0.8, 0.9]), "refuted"),
        (readings(identity=[1.0, 1.0, 0.9]), "conditional"),  # the control does the same
        (readings(identity=[1.0, 1.0, 0.99]), "supported"),
    ],
)
def test_verdicts(measured, verdict):
    card = claim().judge(measured)
    assert card.verdict == verdict == card.record["verdict"]
    assert repr(card) == f"claim 2.1: {verdict}"


def test_without_a_condition_the_opposite_refutes():
    plain = claim(conditional={})
    assert plain.judge(readings(kappa=[0.2] * 3)).verdict == "refuted"
    assert plain.judge(readings(kappa=[0.1] * 3)).verdict == "refuted"  # on the edge
    assert plain.judge(readings(kappa=[0.0, 0.1, 0.2])).verdict == "undecided"
    # A control that does it too shows nothing against the claim, and nothing for it.
    assert plain.judge(readings(identity=[0.5] * 3)).verdict == "undecided"


def test_a_rule_of_its_own_may_refute():
    harsh = claim(refuted={"kappa": above(0.8)})
    assert harsh.judge(readings(kappa=[0.7] * 3)).verdict == "undecided"
    assert harsh.judge(readings(kappa=[0.9] * 3)).verdict == "refuted"


def test_an_open_claim_has_no_other_verdict():
    card = claim(open="Its weights cannot be had here.").judge(readings())
    assert card.verdict == "open"
    assert card.record["condition"] == "Its weights cannot be had here."
    assert "Open: Its weights" in card._html()


def test_three_units_have_a_wide_interval():
    reading = claims.read([1.0, 2.0, 6.0])
    assert (reading.value, reading.low, reading.high) == pytest.approx(
        (3.0, -3.572, 9.572), abs=1e-3
    )


def test_a_ratio_has_its_interval_on_the_logarithm():
    reading = claims.read([1.0, 10.0, 100.0], ratio=True)
    assert reading.value == pytest.approx(10)
    assert reading.low * reading.high == pytest.approx(100)
    card = claim(ratios=["kappa"]).judge(readings(kappa=[0.001, 0.01, 0.05]))
    assert card.readings["kappa"].low > 0
    with pytest.raises(ValueError, match="kappa: expected ratios above 0, got 0"):
        claim(ratios=["kappa"]).judge(readings(kappa=[0.0, 0.1, 0.2]))


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
    assert (card.record["units"], card.record["n"]) == ("", 0)
    assert "this run</th>" in card._html()


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        (
            {"kappa": [1, 2, 3]},
            r"claim 2.1: the readings lack \['identity'\]; they have \['kappa'\]",
        ),
        ({}, "readings lack"),
        (readings(kappa=[0.01]), "claim 2.1, kappa: expected at least 3 units"),
        (readings(kappa=0.01), "at least 3 units.* got 1; train more with models.replicate"),
        (readings(kappa=[0.01, 0.02]), "got 2"),
        (readings(kappa=[]), "kappa: expected finite numbers"),
        (readings(kappa=[0.1, math.nan, 0.1]), r"kappa: expected finite numbers.*nan"),
        (readings(identity=[1, 1, math.inf]), "identity: expected finite numbers"),
        (readings(kappa=[[0.1], [0.2, 0.3], [0.1]]), "one number per unit"),
        (readings(kappa=torch.ones(3, 2)), "one number per unit"),
        (readings(kappa=None), "one number per unit"),
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
        ({"controls": "identity"}, TypeError, "take lists of names"),
        ({"supported": {"kappa": 0.1}}, TypeError, "above"),
        ({"statement": " "}, ValueError, "statement must not be empty"),
        ({"fails_when": ""}, ValueError, "fails_when must not be empty"),
        ({"ratios": "kappa"}, TypeError, "take lists of names"),
        ({"rule_changed": "yesterday"}, ValueError, "rule_changed: expected a day such as"),
        ({"seen_before": "all"}, ValueError, "seen_before: expected a known name"),
        ({"refuted": {"kappa": 1}}, TypeError, "above"),
    ],
)
def test_a_claim_that_could_not_fail_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        claim(**changes)


# --- Cards ---------------------------------------------------------------------------------------

KEYS = {
    "id", "chapter", "statement", "kind", "verdict", "condition", "value", "low", "high", "units",
    "n", "controls", "source", "measure", "rule", "rule_changed", "seen_before", "fails_when",
    "unit", "stable", "stability",
}  # fmt: skip


def test_the_record_has_what_the_ledger_promises():
    record = claim(also=["other"]).judge(readings(other=[6, 6, 6])).record
    assert set(record) >= KEYS
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert (record["id"], record["chapter"], record["n"]) == ("2.1", 2, 3)
    ends = (record["value"], record["low"], record["high"])
    assert ends == pytest.approx((0.02, -0.00484, 0.04484), abs=1e-5)
    assert record["controls"] == {"identity": {"value": 1.0, "low": 1.0, "high": 1.0}}
    assert record["conditions"] == {"other": {"value": 6.0, "low": 6.0, "high": 6.0}}
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
    assert page.inside[:3] == ["0.02", "−0.00484", "0.0448"]
    assert page.inside != other.inside
    assert page.outside == other.outside  # what nbval compares
    assert "claim-supported" in page.classes
    told = " ".join(page.outside)
    for words in ("It copies <nothing> & more", claim().rule, "this run, 3 nets", "(dB)"):
        assert words in told
    assert "control: identity" in told
    assert "<nothing>" not in data["text/html"]


def kept(**changes):
    return claims.Kept(
        **{
            "id": "2.1",
            "readings": readings(kappa=[0.2] * 5, identity=[1.0] * 5),
            "settings": {},
            "record": {"date": "2026-01-02T03:04:05+00:00", "profile": "cpu", "seconds": "9"},
            **changes,
        }
    )


def test_the_kept_run_decides_and_the_live_one_agrees_or_not():
    card = claim().judge(readings(), kept())
    assert (card.verdict, card.agreement) == ("conditional", "says supported")
    record = card.record
    assert (record["verdict"], record["n"], record["value"]) == ("conditional", 5, 0.2)
    assert record["condition"] == "it fails when: The start is biased."
    assert (record["live"]["verdict"], record["live"]["n"]) == ("supported", 3)
    assert record["live"]["readings"]["kappa"]["value"] == pytest.approx(0.02)
    assert record["date"] == "2026-01-02T03:04:05+00:00"
    page = Text(card._html())
    assert {"0.2", "2026-01-02", "says supported; seconds of it decide nothing"} <= set(page.inside)
    assert "kept run, 5 nets" in " ".join(page.outside)
    assert claim().judge(readings(kappa=[0.2] * 3), kept()).agreement == "agrees"
    short = claim().judge(readings(kappa=[0, 0.5, 1]), kept())
    assert short.agreement == "is too short to decide"


def test_a_card_says_where_the_kept_run_had_fresh_seeds():
    assert "with fresh seeds" not in claim().judge(None, kept())._html()
    fresh = kept(record={**kept().record, "seed_offset": "3000"})
    assert "The kept run with fresh seeds, of" in claim().judge(None, fresh)._html()


def test_a_card_without_a_kept_run_says_so():
    card = claim().judge(readings())
    assert (card.verdict, card.agreement) == ("supported", "")
    assert "No full run is kept: run <code>python -m aelib measure 2.1</code>" in card._html()


@pytest.mark.parametrize(
    ("rows", "stable", "turned"),
    [
        ([], None, ""),
        (["full conditional", "full conditional"], True, ""),
        (["full conditional", "full supported"], False, "(other seeds: supported, not"),
        (["full undecided"], False, "(other seeds: undecided, not conditional)"),
        (["short undecided", "short conditional"], True, ""),
        (["short undecided"], None, ""),
        (["short refuted"], False, "(short run, other seeds: refuted, not conditional)"),
        (["short unchanged refuted", "short refuted"], True, ""),
        (["short unchanged refuted", "short conditional"], False, "conditional, not refuted)"),
        (["short unchanged undecided", "short refuted"], None, ""),
    ],
)
def test_a_verdict_that_turns_is_undecided(rows, stable, turned):
    numbers = {"value": 0.2, "low": 0.2, "high": 0.2}
    stability = [
        {
            "change": None if "unchanged" in row else "other seeds",
            "length": row.split()[0],
            "verdict": row.split()[-1],
            **numbers,
        }
        for row in rows
    ]
    card = claim().judge(readings(), kept(stability=stability))
    verdict = "undecided" if turned else "conditional"
    assert (card.stable, card.verdict) == (stable, verdict)
    assert card.record["stability"] == stability
    page = card._html()
    assert turned in page
    assert ("; not all runs agree (" in page) is (stable is False)
    told = "agreed among themselves" if rows and "short" in rows[0] else "verdict was the same"
    assert (told in page) is (stable is True)
    opposite = stable is True and any("refuted" in row for row in rows)
    assert ("decided, on refuted: they are too short" in page) is opposite


def test_an_edited_file_is_refused(tmp_path):
    path = kept().save(tmp_path)
    assert claims.Kept.load(path).readings == kept().readings
    text = path.read_text()
    for wrong, message in (
        (text.replace("0.2", "0.05", 1), "changed by another hand"),
        (text.replace('"format": 2', '"format": 1'), "its format is 1, and this aelib reads 2"),
        (text[:-30], "expected a kept measurement"),
    ):
        path.write_text(wrong)
        with pytest.raises(ValueError, match=message):
            claims.Kept.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "2.2"}, "claim 2.1: kept= is the measurement of claim 2.2"),
        ({"readings": {"kappa": [1, 2, 3]}}, "kept run of claim 2.1: the readings lack"),
        ({"readings": readings(kappa=[0.1, math.nan, 1])}, "kept run .* kappa: expected"),
    ],
)
def test_a_kept_run_of_something_else_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        claim().judge(readings(), kept(**changes))


def test_the_claim_picks_what_it_names_in_its_own_order():
    more = {"other": [1, 2, 3], "identity": [1, 1, 1], "third": [7, 8, 9], "kappa": [0, 0, 0]}
    assert list(claim().judge(more).readings) == ["kappa", "identity"]
    assert list(claim(also=["third"]).judge(more).readings) == ["kappa", "identity", "third"]


def test_keys_may_be_tuples_and_are_labelled_when_printed():
    table = {("ResNet", "trained", 2): [0.5, 0.6, 0.7], ("mean",): [1.0, 1.0, 1.0]}
    measured = claim(
        reading=("ResNet", "trained", 2),
        supported={("ResNet", "trained", 2): between(0, 1)},
        conditional={},
        controls=[("mean",)],
    )
    assert measured.rule.startswith("supported if ResNet, trained, 2 between 0 and 1")
    card = measured.judge(table)
    assert card.verdict == "supported"
    assert card.record["quantity"] == "ResNet, trained, 2"
    stored = {claims.label(key): values for key, values in table.items()}
    assert measured.judge(stored).record == card.record


def test_a_card_shows_its_number_and_one_control_and_folds_the_rest():
    many = {f"reading {number}": [1, 2, 3] for number in range(4)}
    page = claim(also=list(many)).judge(readings(**many))._html()
    seen, folded = page.split("<details>")
    assert seen.count("<th scope='row'>") == 2
    assert "control: identity" in seen
    assert folded.count("<th scope='row'>") == 4
    assert "4 more readings, the rule and the source" in folded
    assert claim().rule in folded
    assert claim().rule not in seen
    assert "<summary>The rule and the source" in claim().judge(readings())._html()


def test_a_card_needs_no_live_run_where_one_is_kept():
    card = claim().judge(None, kept())
    assert (card.verdict, card.live, card.agreement) == ("conditional", None, "")
    assert "live" not in card.record
    page = " ".join(Text(card._html()).outside)
    assert "this run" not in page
    assert "python -m aelib measure --short 2.1" in page
    with pytest.raises(ValueError, match=r"claim 2\.1: nothing was measured, and nothing is kept"):
        claim().judge(None)


def test_the_strip_draws_the_kept_interval_against_the_bound():
    """Supported below 0.1, measured at 0.2: the mean lies right of the shaded part."""
    page = claim().judge(None, kept())._html()
    assert "supported below 0.1'" in page
    shaded = re.search(r"claim-bound' x='0.0' y='0' width='([\d.]+)'", page)
    mean = re.search(r"claim-mean' style='left:([\d.]+)%", page)
    assert shaded
    assert mean
    assert float(shaded[1]) < float(mean[1]) < 100
    assert "claim-strip" not in claim().judge(readings())._html()


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


@pytest.mark.parametrize("control", ["untrained, k", ("untrained", "k")])
def test_a_control_is_one_however_its_key_is_written(control):
    rule = {"supported": {"k": above(0.9), ("untrained", "k"): below(0.5)}, "conditional": {}}
    made = claim(reading="k", controls=[control], **rule)
    assert "one on a control aside" in made.rule
    assert made.judge({"k": [0.95, 0.96, 0.97], "untrained, k": [0.9, 0.91, 0.92]}).verdict == (
        "undecided"
    )
