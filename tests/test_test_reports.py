"""The tests themselves can be run the ways that continuous integration runs them."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.paths import ROOT

pytest_plugins = ["pytester"]

# Fixtures that pytest warns about when it writes a report of its present form; warnings are errors here.
OUTDATED = ("record_property", "record_xml_attribute")


@pytest.mark.long
def test_a_junit_report_can_be_written(tmp_path: Path) -> None:
    """`pytest --junitxml` writes its report for a test that measures something as for any other."""
    measured = "tests/simulator/test_simulator.py::test_600_seconds_take_less_than_50_milliseconds"
    wanted = ["-p", "no:cacheprovider", f"--junitxml={tmp_path / 'x.xml'}", measured]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *wanted], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout
    suite = ET.parse(tmp_path / "x.xml").getroot()[0]  # noqa: S314 - pytest wrote it just now
    assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("1", "0", "0")


@pytest.mark.long
def test_in_a_fresh_clone_no_property_waits_for_a_table_of_characters(tmp_path: Path) -> None:
    """Hypothesis makes the table before the first test: under coverage it takes longer than a test may."""
    wanted = ["-p", "no:cacheprovider", "--collect-only", "-q", "tests/test_sansio_errors.py"]

    subprocess.run(
        [sys.executable, "-m", "pytest", *wanted],
        cwd=ROOT,
        env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)},
        capture_output=True,
        check=True,
    )

    assert list(tmp_path.rglob("codec-*utf-8*"))


def test_no_test_asks_for_a_fixture_that_spoils_the_report() -> None:
    """The measurement of one test stands for all: none of them uses what the report cannot hold."""
    here = Path(__file__)

    asking = [
        path.name
        for path in (ROOT / "tests").rglob("*.py")
        if path != here and any(name in path.read_text("utf-8") for name in OUTDATED)
    ]

    assert asking == []


@pytest.mark.long
@pytest.mark.parametrize("option", ["-q", "--durations=3", "--junitxml=x.xml"])
def test_workers_report_each_outcome(pytester: pytest.Pytester, option: str) -> None:
    """A failure before, in and after a test is one, also where a test that passed is reported once."""
    pytester.makeconftest("from tests.conftest import pytest_runtest_protocol")
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def broken(request):
            assert request.node.name != "test_before"
            yield
            assert request.node.name != "test_after"

        def test_before(broken): pass
        def test_after(broken): pass
        def test_both(broken): assert False
        def test_good(broken): pass
        @pytest.mark.skip
        def test_left_out(): pass
        """
    )
    own = ["-pno:cacheprovider", "-pno:randomly", "-pno:faker", "-pno:schemathesis"]

    result = pytester.runpytest_subprocess("--numprocesses=1", *own, option)

    result.assert_outcomes(passed=2, failed=1, errors=2, skipped=1)
