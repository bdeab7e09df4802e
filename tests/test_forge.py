"""What the forge runs and shows: every step is a target of the Makefile, every tool is in force.

`make lint` holds the files to the forge's own schemas and looks for what is unsafe in them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FORGE = ROOT / ".github"
WORKFLOWS = sorted((FORGE / "workflows").glob("*.yml"))
MADE = re.compile(r"make ([\w-]+)(?: [A-Z]+=\w+)*")
ROOM = re.compile(r"sudo rm -rf(?: /[\w./]+)+")  # for an image larger than a hosted machine's disk


def steps(path: Path) -> list[dict]:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def test_the_four_workflows_are_there() -> None:
    assert {path.stem for path in WORKFLOWS} == {"ci", "pages", "weekly", "release"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_does_what_anybody_can_do_here(path: Path) -> None:
    """Its commands are targets of the Makefile, but for the forge's own `gh`, and `rm` for room."""
    (targets,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [step["run"].strip() for step in steps(path) if "run" in step]
    assert commands
    for command in commands:
        made = MADE.fullmatch(command)
        assert made or ROOM.fullmatch(command) or "gh " in command, command
        assert not made or made[1] in targets.split(), command


@pytest.mark.parametrize("command", ["make x; curl a.b", "make x && y", "make x A=$(y)", "make"])
def test_no_command_hides_behind_a_target(command: str) -> None:
    assert not MADE.fullmatch(command)
    assert not ROOM.fullmatch(f"sudo rm -rf /opt/ghc; {command}")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_unless_a_job_says_what_for(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all("#" in line for line in lines if re.search(r": write\b", line))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_pinned_by_its_commit_and_says_its_version(path: Path) -> None:
    used = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used)


def test_the_lint_sees_a_job_that_runs_nowhere(tmp_path: Path) -> None:
    text = (FORGE / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (tmp_path / "ci.yml").write_text(text.replace("runs-on: ubuntu-24.04", "", 1))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    done = subprocess.run(
        [*command, "vendor.github-workflows", tmp_path / "ci.yml"], capture_output=True, text=True
    )
    assert done.returncode
    assert "ci.yml::$.jobs.style" in done.stdout


def test_the_lint_sees_an_action_that_is_not_pinned(tmp_path: Path) -> None:
    zizmor = shutil.which("zizmor", path=Path(sys.executable).parent)
    assert zizmor
    text = (FORGE / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (tmp_path / "ci.yml").write_text(re.sub(r"@[0-9a-f]{40} # (v\d+)\S*", r"@\1", text))
    command = [zizmor, "--offline", "--no-progress", tmp_path / "ci.yml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode
    assert "unpinned-uses" in done.stdout


def test_before_a_commit_nothing_is_fetched() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert "make lint" in {hook["entry"] for hook in hooks}


def test_a_red_week_is_reported_also_where_a_job_was_cut_short() -> None:
    """`failure()` is false where a job was cancelled, as one is that runs out of time."""
    workflow = yaml.safe_load((FORGE / "workflows" / "weekly.yml").read_text(encoding="utf-8"))
    report = workflow["jobs"]["report"]
    assert set(report["needs"]) == set(workflow["jobs"]) - {"report"}
    for result in ("failure", "cancelled"):
        assert f"contains(needs.*.result, '{result}')" in report["if"]
    assert report["if"].startswith("always() && github.event_name == 'schedule'")


def test_contributing_names_every_workflow_and_its_targets() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in WORKFLOWS:
        (row,) = re.findall(rf"^\| `{path.stem}` \|.+$", text, re.MULTILINE)
        for step in steps(path):
            if made := MADE.fullmatch(step.get("run", "")):
                assert f"`make {made[1]}`" in row
