"""The commands of docs/one_time_passwords.md in a shell: a login whose code arrives by SMS."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.page_programs import commands, running, shell
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "one_time_passwords.md"


@pytest.mark.timeout(120)
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_show_a_code_that_is_not_read(tmp_path: Path, hold_port: Callable[[], int]) -> None:
    """A code was sent, says the page, and later by which channel it arrived; it knows no other login."""
    ours, service = hold_port(), hold_port()
    (tmp_path / "otp.py").write_text((ROOT / "examples" / "otp.py").read_text("utf-8"), "utf-8")
    page = f"http://127.0.0.1:{ours}/codes"
    simulate, serve, look = commands(
        PAGE,
        "codes.py",
        tmp_path,
        {
            "--speed 10 ": f"--port {service} --speed 10 ",
            "python codes.py": "python -u codes.py",
            ":8080": f":{ours}",
            "sleep 5": f"(until curl -s {page}/$login | grep arrived; do sleep 0.1; done) > arrived",
        },
    )
    program = tmp_path / "codes.py"
    program.write_text(program.read_text("utf-8").replace("port=8080", f"port={ours}"), "utf-8")

    with running(simulate, tmp_path, "# callbacks go to"), running(serve, tmp_path, "Running on"):
        shown = shell(look, tmp_path)
        unknown = shell(f"curl -s {page}/unknown", tmp_path)

    said = r'\{"login": "[0-9a-f]{32}", "says": "a code was sent"}\{"says": "the code arrived on sms"}'
    assert re.fullmatch(said, shown), shown
    assert unknown == "404: Not Found"
