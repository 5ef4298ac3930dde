"""The commands of docs/one_time_passwords.md in a shell: a login whose code arrives by SMS."""

import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.page_programs import commands, running, shell
from tests.support.pages import blocks
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "one_time_passwords.md"


@pytest.mark.timeout(120)
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_show_a_code_that_whatsapp_does_not_deliver(
    tmp_path: Path, hold_port: Callable[[], int]
) -> None:
    """A code was sent, says the page, and later by which channel it arrived; the code is right once."""
    ours, service = hold_port(), hold_port()
    (tmp_path / "otp.py").write_text((ROOT / "examples" / "otp.py").read_text("utf-8"), "utf-8")
    (people,) = (block for block in blocks(PAGE) if block.title == "people.toml")
    (tmp_path / people.title).write_text(people.code, "utf-8")
    page = f"http://127.0.0.1:{ours}/codes/ann"
    simulate, serve, look = commands(
        PAGE,
        "codes.py",
        tmp_path,
        {
            "--speed 10 ": f"--port {service} --record record.jsonl --speed 10 ",
            "python codes.py": "python -u codes.py",
            ":8080": f":{ours}",
            "sleep 5": f"(until curl -s {page} | grep arrived; do sleep 0.1; done) > arrived",
        },
    )
    program = tmp_path / "codes.py"
    program.write_text(program.read_text("utf-8").replace("port=8080", f"port={ours}"), "utf-8")

    with running(simulate, tmp_path, "# callbacks go to"), running(serve, tmp_path, "Running on"):
        shown = shell(look, tmp_path)
        record = (tmp_path / "record.jsonl").read_text("utf-8")
        (code,) = re.findall(r" code: (\d{6})", record)
        check = f"curl -s -d code={code} {page}/check"
        checked = [shell(check, tmp_path) for _ in range(2)]

    sent, arrived = shown.replace("}{", "}\n{").splitlines()
    assert sent == '{"kind": "sent", "seconds": 60, "says": "a code was sent"}'
    assert re.fullmatch(r'\{"kind": "arrived", "seconds": \d+, "says": "the code arrived on sms"\}', arrived)
    assert checked == ['{"right": true}', '{"right": false}']


def test_each_row_of_the_table_is_an_answer_of_the_program(tmp_path: Path) -> None:
    """A kind and its words stand in the table as the program has them, and each kind has a row."""
    (program,) = (block for block in blocks(PAGE) if block.title == "codes.py")
    (tmp_path / "codes.py").write_text(program.code, "utf-8")
    shutil.copy(ROOT / "examples" / "otp.py", tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        codes = runpy.run_path(str(tmp_path / "codes.py"), run_name="codes")
        patch.delitem(sys.modules, "otp")

    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| ([^|]+) \|", PAGE.read_text("utf-8"), re.MULTILINE)

    assert {kind for kind, _ in rows} == set(codes["WORDS"])
    for kind, says in rows:
        assert says in {codes["shown"](kind, seconds, "sms")["says"] for seconds in (0, 60, 90)}
