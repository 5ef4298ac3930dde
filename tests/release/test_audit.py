"""The verdict on a run of pip-audit: only a report of every package without a finding is a pass."""

import json
from typing import Any

import pytest

from tests.support.audit import NOT_AUDITED, VULNERABLE, verdict

CLEAN = {"name": "a", "version": "1.0", "vulns": []}
WEAK = {"name": "b", "version": "2.0", "vulns": [{"id": "CVE-2030-1", "fix_versions": ["2.1"]}]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited: c (1.0)"}


def judged(*packages: Any, returncode: int = 0) -> tuple[int, str]:
    return verdict("newest", returncode, json.dumps({"dependencies": list(packages), "fixes": []}), "")


def test_a_whole_report_without_a_finding_passes() -> None:
    """And says how many packages it covers."""
    assert judged(CLEAN, CLEAN) == (0, "newest: 2 packages, no known vulnerability")


def test_a_vulnerability_is_named_with_package_and_id() -> None:
    """Also when the service did not know another package."""
    for packages in ([CLEAN, WEAK], [SKIPPED, WEAK]):
        assert judged(*packages, returncode=1) == (
            VULNERABLE,
            "newest: 1 known vulnerabilities: b 2.0: CVE-2030-1",
        )


@pytest.mark.parametrize(
    ("printed", "complaint"),
    [
        ("", "ERROR:pip_audit._cli:Could not connect to the vulnerability service"),
        ("", ""),
        ("not JSON", ""),
        ("[]", ""),
        ("{}", ""),
    ],
)
@pytest.mark.parametrize("returncode", [0, 1])
def test_a_service_that_gives_no_answer_is_no_pass(printed: str, complaint: str, returncode: int) -> None:
    """It says so, with the last line of the complaint, whatever the exit code."""
    code, line = verdict("newest", returncode, printed, complaint)

    assert code == NOT_AUDITED
    assert "NOT AUDITED" in line
    assert line.endswith(complaint or "it printed no report")


def test_a_package_that_the_service_does_not_know_is_no_pass() -> None:
    """pip-audit itself only skips it, and ends with 0."""
    code, line = judged(CLEAN, SKIPPED)

    assert (code, line) == (NOT_AUDITED, "newest: NOT AUDITED, unknown to the advisory service: c")


def test_a_report_of_nothing_and_one_of_a_failed_run_are_no_pass() -> None:
    """Nothing was audited, or not all of it."""
    assert judged()[0] == NOT_AUDITED
    assert judged(CLEAN, returncode=2)[0] == NOT_AUDITED
