"""The workflows of continuous integration say what pyproject.toml and the Makefile say."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.interpreters import claimed_versions
from tests.support.paths import ROOT

# Any: YAML, whose form the tests below hold.
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS: dict[str, dict[Any, Any]] = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in FILES}
CI, RELEASE = WORKFLOWS["ci"], WORKFLOWS["release"]
JOBS = [
    (f"{name}.{job}", body) for name, workflow in WORKFLOWS.items() for job, body in workflow["jobs"].items()
]
STEPS = [(name, step) for name, job in JOBS for step in job["steps"]]


def test_the_workflows_are_the_known_ones() -> None:
    """A further one is held by the tests below as well, once it is named here."""
    assert sorted(WORKFLOWS) == ["ci", "release"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_action_is_pinned_by_the_hash_of_a_commit(path: Path) -> None:
    """A tag can be moved to other code; the version stands beside the hash, for people."""
    used = re.findall(r"uses: *(.*)", path.read_text("utf-8"))

    assert used
    assert [
        line for line in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)
    ] == []


def test_one_action_has_one_version() -> None:
    """Both workflows use the same commit of an action."""
    pins = {step["uses"] for _, step in STEPS if "uses" in step}

    assert len(pins) == len({pin.split("@")[0] for pin in pins})


@pytest.mark.parametrize("name", ["ci.tests", "ci.installed", "release.installed"])
def test_the_matrix_is_what_is_claimed(name: str) -> None:
    """The tests and the wheel run on every Python of the classifiers, and each run ends by itself."""
    strategy = dict(JOBS)[name]["strategy"]

    assert strategy["matrix"] == {"python-version": claimed_versions()}


def test_the_gate_needs_every_job() -> None:
    """One check protects the branch, whichever jobs are added; it also runs after a failure."""
    gate = CI["jobs"]["required"]

    assert gate["needs"] == [name for name in CI["jobs"] if name != "required"]
    assert gate["if"] == "always()"


@pytest.mark.parametrize(
    ("results", "passes"),
    [
        ("success", True),
        ("success,success,success", True),
        ("success,failure,success", False),
        ("success,cancelled", False),
        ("skipped,success", False),
        ("", False),
    ],
)
def test_the_gate_opens_only_when_every_job_passed(results: str, passes: bool) -> None:
    """A job that was skipped or cancelled has not passed: the command of the gate, run as it stands."""
    (step,) = CI["jobs"]["required"]["steps"]

    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]], env={"RESULTS": results, "PATH": "/usr/bin:/bin"}, check=False
    )

    assert step["env"]["RESULTS"] == "${{ join(needs.*.result, ',') }}"
    assert (done.returncode == 0) is passes


def test_every_target_exists() -> None:
    """What a job runs with make is a target, and every `python -m` a module."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    commands = [step["run"] for _, step in STEPS if "run" in step]
    targets = {found for run in commands for found in re.findall(r"\bmake ([\w-]+)", run)}
    modules = {found for run in commands for found in re.findall(r"python -m ([\w.]+)", run)}

    assert {
        "check",
        "workflows",
        "test",
        "test-long",
        "test-engines",
        "floors",
        "docs",
        "dist",
        "audit",
    } <= targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
    assert [name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").is_file()] == []


@pytest.mark.parametrize(("name", "job"), JOBS, ids=[name for name, _ in JOBS])
def test_a_job_may_do_what_it_needs_and_no_more(name: str, job: dict[str, Any]) -> None:
    """Only the upload may prove who it is; no job may write, none keeps credentials, and each has a bound."""
    allowed = {"id-token": "write"} if name == "release.publish" else {"contents": "read"}

    assert job.get("permissions", allowed) == allowed
    assert job["timeout-minutes"] <= 60
    for step in job["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        # text of others is passed as a variable, never put into a command
        assert "${{" not in step.get("run", "")


def test_nothing_is_allowed_by_default() -> None:
    """A job that names no permission has none."""
    assert [workflow["permissions"] for workflow in WORKFLOWS.values()] == [{}, {}]


def test_what_was_checked_is_what_is_uploaded() -> None:
    """The upload builds nothing, holds no token, and runs after the wheel was used on every Python."""
    jobs = RELEASE["jobs"]
    publish = jobs["publish"]

    assert publish["needs"] == ["build", "installed"]
    assert publish["environment"] == "pypi"
    assert all("run" not in step for step in publish["steps"])
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    runs = [step.get("run", "").split(" #")[0] for step in jobs["build"]["steps"]]
    assert runs.index("make release-check") > runs.index('python -m tests.support.release_tag "$TAG"')
    assert jobs["build"]["steps"][-1]["with"]["path"] == "dist/"


def test_pinned_actions_do_not_grow_old_unseen() -> None:
    """A pin needs a proposal of its successor, weekly."""
    settings = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text("utf-8"))

    (update,) = settings["updates"]
    assert (update["package-ecosystem"], update["schedule"]) == ("github-actions", {"interval": "weekly"})
