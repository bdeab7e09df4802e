"""What `make bench` keeps: each suite's rows with where and when they were measured."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from docutils import nodes
from torch import nn

from press.sphinx_ext import benchmarks as page

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PROMISED = {
    "problem", "method", "start", "photo", "seed", "cpu_seconds", "m_g_over_m_r", "f",
    "release", "aelib_seconds_to_same_m_g", "seconds_to_own_m_g", "class_rank", "curve", "version",
}  # fmt: skip


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """benchmarks/run.py with two small parts, keeping its results in a folder of the test's."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("bench_run", BENCHMARKS / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Part:
        """Measures one row, or two of a suite that they name themselves."""

        def __init__(self, *rows):
            self.rows = rows

        def measure(self, quick):
            return [dict(row) for row in self.rows]

        def table(self, rows):
            return f"{len(rows)} rows"

    parts = {
        "one": Part({"ms": 1.0}),
        "two": Part({"suite": "two a", "ms": 2.0}, {"suite": "two b", "ms": 3.0}),
    }
    monkeypatch.setattr(module, "PARTS", parts)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results.json")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        module.main()
        path = tmp_path / "results.json"
        return json.loads(path.read_text()) if path.is_file() else None

    run.module, run.parts = module, parts
    return run


def test_rows_are_kept_by_suite(bench):
    kept = bench()
    assert {suite: len(found["rows"]) for suite, found in kept.items()} == {
        "one": 1,
        "two a": 1,
        "two b": 1,
    }
    assert kept["two a"]["rows"] == [{"ms": 2.0}]


def test_a_run_of_one_part_leaves_the_others_where_and_when_they_were(bench, monkeypatch):
    before = bench()
    monkeypatch.setattr(bench.module.runtime, "machine", lambda: "another machine")
    after = bench("--only", "two")
    assert after["one"] == before["one"]
    assert after["two a"]["machine"] == after["two b"]["machine"] == "another machine"


def test_a_quick_run_keeps_nothing(bench):
    assert bench("--quick") is None


def test_what_is_done_is_kept_when_a_later_part_fails(bench):
    def fail(quick):
        raise RuntimeError("out of patience")

    bench.parts["two"].measure = fail
    with pytest.raises(RuntimeError):
        bench()
    assert list(json.loads(bench.module.RESULTS.read_text())) == ["one"]


def test_the_pages_tables_have_what_they_name():
    """Every suite and every column that pages/benchmarks.md asks for is in the kept file."""
    kept = json.loads((BENCHMARKS / "results.json").read_text())
    text = (BENCHMARKS.parent / "pages" / "benchmarks.md").read_text()
    blocks = [block.split("```")[0].splitlines() for block in text.split("```{benchmarks} ")[1:]]
    assert blocks
    for suite, *lines in blocks:
        assert {"date", "machine", "device", "versions"} <= set(kept[suite])
        columns = {line.split("=")[0].strip() for line in lines if line}
        for row in kept[suite]["rows"]:
            assert columns <= set(row), f"{suite}: {columns - set(row)} in no row"


# --- The inversion, piece by piece ---------------------------------------------------------------


@pytest.fixture
def inversion(bench, monkeypatch):
    """The inversion's suite on a tiny net, two photographs; the peers that need installing out."""
    module = bench.module.inversion
    tiny = module.Problem("tiny", "1", size=32, iterations=6)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(1350, 5))
    for name, value in {
        "PROBLEMS": {"tiny": tiny},
        "STEPS": 6,
        "TRIAL": 2,
        "PHOTOS": ("chelsea", "coffee"),
        "release": lambda package: None,
    }.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module.ae.models, "classifier", lambda name, weights, size: net)
    bench.parts.clear()
    bench.parts["inversion"] = module
    caches = module.cut, module.best_factor
    for cache in caches:
        cache.cache_clear()
    yield module
    for cache in caches:
        cache.cache_clear()


def counting(monkeypatch, module, fail_at=None):
    """A list of the pieces that are measured from now on."""
    done, measure = [], module.measure_part

    def count(piece, quick):
        if len(done) == fail_at:
            raise KeyboardInterrupt
        done.append(piece)
        return measure(piece, quick)

    monkeypatch.setattr(module, "measure_part", count)
    return done


def test_every_row_has_what_is_promised(bench, inversion):
    rows = bench()["inversion"]["rows"]
    assert len(rows) == 2 * 2 * 5  # starts, photographs; ours, two loops, two controls
    assert {row["method"] for row in rows} == {
        "aelib", "badger2022", "badger2022-tuned", "mean colour", "thumbnail",
    }  # fmt: skip
    for row in rows:
        assert set(row) >= PROMISED
        assert row["start"] in ("published", "paled")
        curve = row["curve"]
        assert len(curve["cpu_seconds"]) == len(curve["f"]) == len(curve["m_g_over_m_r"])
        assert all(at <= row["cpu_seconds"] for at in curve["cpu_seconds"])


def test_a_loop_has_as_many_evaluations_as_it_was_given_and_ours_one_more(bench, inversion):
    evaluations = {row["method"]: row["evaluations"] for row in bench()["inversion"]["rows"]}
    # Its looks at the photograph are none: each loop's are its steps and the image it ends with.
    assert evaluations["aelib"] == evaluations["badger2022"] == 7


def test_all_methods_begin_from_the_same_image(inversion, monkeypatch):
    piece = inversion.Part("tiny", "paled", "chelsea", 0)
    first = []
    take = inversion.Record.take

    def note(record, given, m_g):
        if not record.evaluations:
            first.append(given)
        take(record, given, m_g)

    monkeypatch.setattr(inversion.Record, "take", note)
    for method, how in ((inversion.aelib, {"recipe": "default"}), (inversion.badger2022, {})):
        inversion.run(method, piece, steps=2, **how)
    assert len(first) == 2
    torch.testing.assert_close(*first, atol=1e-5, rtol=0)
    assert first[0].std() < 0.01  # a tenth of 1/20, not a hundredth
    assert first[0].std() > 0.003


def test_a_method_that_begins_elsewhere_is_refused(inversion):
    def elsewhere(net, record):
        net(record.image)
        net(record.start + 0.1)

    with pytest.raises(RuntimeError, match="elsewhere did not begin at the start"):
        inversion.run(elsewhere, inversion.Part("tiny", "paled", "chelsea", 0))


def test_ours_has_its_own_distance_when_its_record_says_so(inversion):
    piece = inversion.Part("tiny", "published", "chelsea", 0)
    ours = inversion.run(inversion.aelib, piece, True, steps=6, recipe="default")
    assert 0 < ours.first(ours.m_g) <= ours.seconds
    assert ours.first(0.0) is None
    with torch.no_grad():
        found = (inversion.cut("tiny")(ours.kept) - ours.target).norm()
    assert float(found) == pytest.approx(ours.m_g, rel=1e-3)


def record_of(inversion, keeps_best: bool):
    """A record of a search for 1, 1 from 0, 0 in a layer that gives back what it gets."""
    image, noisy, start = (torch.full((1, 3, 1, 1), value) for value in (1.0, 1.1, 0.0))
    return inversion.Record(image, noisy, image, noisy, start, keeps_best)


def test_seconds_begin_after_the_last_look_at_the_photograph(inversion, monkeypatch):
    ticks = iter(range(0, 1000, 10))  # ten seconds from each look at the clock to the next
    monkeypatch.setattr(inversion.time, "process_time", lambda: next(ticks))
    record = record_of(inversion, True)
    for value, seconds, evaluations in (
        (0.3, 10, 0),  # a probe, before the photograph is seen
        (1.0, 0, 0),
        (1.1, 0, 0),
        (0.3, 10, 0),  # a probe after it counts, and is no image of the search
        (0.0, 20, 1),
        (1.0, 30, 2),  # by now a find
    ):
        given = torch.full((1, 3, 1, 1), value)
        record.note(given, given)
        assert (record.seconds, record.evaluations) == (seconds, evaluations)
    assert record.first(record.m_r) == 30


def test_ours_gives_back_its_best_image_and_a_peer_its_last(inversion):
    for keeps_best, last in ((True, 0.9), (False, 0.5)):
        record = record_of(inversion, keeps_best)
        for value in (0.0, 0.9, 0.5, float("nan")):
            given = torch.full((1, 3, 1, 1), value)
            record.note(given, given)
        assert float(record.kept.mean()) == pytest.approx(last)
        assert record.f == pytest.approx((1 - last) ** 2 / 0.25, rel=1e-4)


def test_pieces_measured_by_the_same_code_are_not_measured_again(bench, inversion, monkeypatch):
    done = counting(monkeypatch, inversion)
    before = bench()
    assert len(done) == 4
    assert bench() == before
    assert len(done) == 4
    bench("--fresh")
    assert len(done) == 8
    monkeypatch.setattr(inversion, "version", lambda: "another")
    after = bench()
    assert len(done) == 12
    assert len(after["inversion"]["rows"]) == len(before["inversion"]["rows"])


def test_a_run_cut_short_loses_nothing_and_the_next_goes_on(bench, inversion, monkeypatch):
    with monkeypatch.context() as patch:
        counting(patch, inversion, fail_at=3)
        with pytest.raises(KeyboardInterrupt):
            bench()
    path = bench.module.RESULTS
    kept = json.loads(path.read_text())["inversion"]["rows"]
    assert len(kept) == 3 * 5
    done = counting(monkeypatch, inversion)
    rows = bench()["inversion"]["rows"]
    assert len(done) == 1
    assert len(rows) == 4 * 5
    assert all(row in rows for row in kept)


def test_what_another_process_kept_meanwhile_stays(bench, inversion):
    rows = inversion.measure_part(inversion.Part("tiny", "paled", "chelsea", 0), False)
    for seed in (0, 1):
        bench.module.keep(
            "inversion", [row | {"seed": seed} for row in rows], inversion.Part._fields
        )
    kept = json.loads(bench.module.RESULTS.read_text())["inversion"]["rows"]
    assert sorted(row["seed"] for row in kept) == [0] * 5 + [1] * 5


# --- The page ------------------------------------------------------------------------------------


@pytest.fixture
def rows(bench, inversion):
    return bench()["inversion"]["rows"]


def test_the_curves_are_a_picture_of_every_problem(rows):
    for key in page.AXES:
        assert page.curves(rows, key).startswith(b"\x89PNG")


def test_a_band_ends_where_its_rows_end(rows):
    ours = [row for row in rows if row["method"] == "aelib"]
    seconds, spread = page.band(ours, "f")
    assert seconds == sorted(seconds)
    assert spread[-1][0] <= spread[-1][1] <= spread[-1][2]
    assert min(row["f"] for row in ours) <= spread[-1][1] <= max(row["f"] for row in ours)


def peer(own: float, whole: float, ours: float | None, method: str = "lucent") -> dict:
    """A row that took `whole` seconds, had its m_g after `own`, and ours after `ours`."""
    same = {"problem": "a", "f": 0.5, "class_rank": None, "release": "2.1"}
    return same | {"method": method, "cpu_seconds": whole, "seconds_to_own_m_g": own,
                   "aelib_seconds_to_same_m_g": ours}  # fmt: skip


def test_ratios_are_of_the_peers_time_over_ours_and_never_is_no_number():
    found = [peer(2.0, 4.0, 0.1), peer(2.0, 4.0, 0.1), peer(2.0, 4.0, None)]
    (line,) = page.times([peer(1, 1, 1, "aelib"), *found])
    assert line[:2] == ["a", "lucent 2.1"]
    assert line[2:4] == ["40 [40, 40]", "20 [20, 20]"]
    assert line[4:] == ["2 of 3", "0.5, 0.5", "–, –"]
    (told,) = page.goals(found)
    assert "by its whole time: 2 of 3 runs (least 0)" in told


def test_a_page_without_results_says_so(tmp_path):
    class Env:
        srcdir = str(tmp_path)

        def note_dependency(self, path):
            pass

    for kind, arguments in {
        page.Benchmarks: ["inversion"],
        page.InversionCurves: ["f"],
        page.InversionTimes: ["paled"],
    }.items():
        directive = kind.__new__(kind)
        directive.arguments, directive.content, directive.options = arguments, [], {}
        directive.state = type("State", (), {})()
        directive.state.document = nodes.document("", "")
        directive.state.document.settings = type("Settings", (), {"env": Env()})()
        (said,) = directive.run()
        assert said.astext() == "Not measured yet."
