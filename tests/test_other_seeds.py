"""The tool that runs chapters again with other seeds."""

import json
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
with ae.runtime.seeded(0):
    inside = torch.rand(1)
draws = [torch.rand(1, generator=ae.runtime.generator(seed)).item() for seed in range(3)]
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
    assert "failed" not in done.stderr
    stored = json.loads(run(1000, path, "--here").stdout.splitlines()[-1])
    assert set(stored) == {"1.1"}


def test_a_claim_behind_a_failed_cell_is_named(tmp_path):
    path = tmp_path / "01_chance.ipynb"
    judged = nbformat.v4.new_code_cell(CELLS[2])
    judged.outputs = [nbformat.v4.new_output("display_data", metadata={"claim": STORED})]
    cells = [nbformat.v4.new_code_cell("1 / 0"), judged]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    done = run(1, path)
    assert done.returncode == 1
    assert "failed: 1 / 0" in done.stderr
    assert "not judged, for a cell failed: 1.1" in done.stderr


def test_a_notebook_that_is_not_there_is_named(tmp_path):
    done = run(1000, tmp_path / "nowhere.ipynb")
    assert done.returncode == 2
    assert "nowhere.ipynb" in done.stderr
    assert "expected 1 or more" in run(0).stderr
