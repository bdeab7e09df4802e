"""What `make bench` keeps: each suite's rows with where and when they were measured."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


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
    page = (BENCHMARKS.parent / "pages" / "benchmarks.md").read_text()
    blocks = [block.split("```")[0].splitlines() for block in page.split("```{benchmarks} ")[1:]]
    assert blocks
    for suite, *lines in blocks:
        assert {"date", "machine", "device", "versions"} <= set(kept[suite])
        columns = {line.split("=")[0].strip() for line in lines if line}
        for row in kept[suite]["rows"]:
            assert columns <= set(row), f"{suite}: {columns - set(row)} in no row"
