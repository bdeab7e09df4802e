"""The tool that runs chapters again with other seeds."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat

from aelib.claims.ledger import RECORD as KEYS

TOOL = Path(__file__).parents[1] / "tools" / "other_seeds.py"
CELLS = (
    "import torch\nimport aelib as ae",
    """
claim = ae.Claim(
    id="1.1", statement="It is large.", source="a test", measure="a draw",
    supported={"draw": ae.claims.above(0.4)}, controls=("draw",), fails_when="Never.",
)
""",
    """
with ae.random.seeded(0):
    inside = torch.rand(1)
draws = [torch.rand(1, generator=ae.random.generator(seed)).item() for seed in range(3)]
assert inside == draws[0]
claim.judge({"draw": draws})
""",
)


STORED = dict.fromkeys(KEYS, "") | {"id": "1.1", "verdict": "supported"}


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)], capture_output=True, text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip


def test_a_verdict_that_hangs_on_its_seeds_is_found(tmp_path):
    path = tmp_path / "01_chance.ipynb"
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    done = run(1, path)  # seeds 1, 2, 3 draw .76, .61 and .004; seeds 0, 1, 2 draw .50, .76, .61
    assert done.returncode == 0, done.stderr
    assert "claim 1.1: None → refuted" in done.stdout
    assert not done.stderr


def test_a_claim_behind_a_failed_cell_is_named(tmp_path):
    path = tmp_path / "01_chance.ipynb"
    judged = nbformat.v4.new_code_cell(CELLS[2])
    judged.outputs = [nbformat.v4.new_output("display_data", metadata={"claim": STORED})]
    cells = [nbformat.v4.new_code_cell("1 / 0"), judged]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    done = run(1, path)
    assert done.returncode == 1
    assert "failed: 1 / 0" in done.stderr
    assert "not judged: 1.1" in done.stderr


def test_a_process_that_ends_early_is_told_and_the_next_notebook_runs(tmp_path):
    paths = []
    for name, source in (("01_gone", "import os; os._exit(3)"), ("02_syntax", "1 +")):
        paths.append(tmp_path / f"{name}.ipynb")
        cells = [nbformat.v4.new_code_cell(source)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), paths[-1])
    done = run(1, *paths)
    assert done.returncode == 1
    assert "failed: it ended with status 3" in done.stderr
    assert "failed: 1 + … " in done.stderr
    assert "invalid syntax" in done.stderr


def test_what_is_no_notebook_is_named_before_anything_runs(tmp_path):
    (tmp_path / "01_bad.ipynb").write_text("{}")
    done = run(1, tmp_path / "01_bad.ipynb")
    assert done.returncode == 2
    assert "01_bad.ipynb is not a notebook" in done.stderr
    assert "seeds moved" not in done.stdout


def test_a_notebook_that_is_not_there_is_named(tmp_path):
    done = run(1000, tmp_path / "nowhere.ipynb")
    assert done.returncode == 2
    assert "nowhere.ipynb" in done.stderr
    assert "expected 1 or more" in run(0).stderr
