"""Every example runs unaided, ends well, and prints what it is for; the index names each once."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ARGUMENTS = {"send_many.py": ["--count", "500"]}
#: The programs that people need most, each with lines that it must print.
NEEDS = {
    "otp.py": [
        "online: sent; channels: whatsapp\n",
        "offline: sent; channels: whatsapp, then sms\n",
        "mistyped: correct_number; channels: none\n",
        "lost: perhaps_sent; channels: whatsapp\n",
    ],
    "order_updates.py": [
        "order-17: reached on whatsapp after 19.9 s",
        "order-18: reached on sms after 601.29 s",
        "order-19: reached on sms after 1.62 s",
    ],
    "messenger_bot.py": ["3 answers on messenger, messenger, messenger", "[200, 200, 200]"],
    "reminder_campaign.py": ["65 to send, 2 rejected", "60 of 65 people reached", "not reached: 5  "],
    "receive_aiohttp.py": ["order-17: read on whatsapp", "ended as completed", "was answered 401"],
    "receive_fastapi.py": ["ended as completed", "wrote 10 characters", "[200, 200, 200, 200, 200, 200]"],
    "conversation.py": ["hour later, open: True", "day later, open: False", "free text: completed"],
    "test_failover.py": ["needs_no_sms: passed", "becomes_an_sms: passed", "step 2 sent on sms"],
    "several_applications.py": [
        "shoes: the workflow ended as completed",
        "books: the workflow ended as completed",
        "books: a customer wrote on whatsapp",
        "2 workflows of 2 applications, 1 token",
    ],
    "worker.py": ["1: sending\norder 2: sent\norder 3: refused\norder 4: sent\norder 5: waiting"],
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An example needs no account, no arguments and no network beyond loopback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), *ARGUMENTS.get(path.name, [])])

    runpy.run_path(str(path), run_name="__main__")

    printed = capsys.readouterr().out
    assert printed.strip(), "an example shows what it did"
    missing = [line for line in NEEDS.get(path.name, []) if line not in printed]
    assert missing == [], printed


@pytest.mark.timeout(120)  # a program that may share the machine with others
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.long] * (path.name != "otp.py")) for path in EXAMPLES],
    ids=lambda path: path.name,
)
def test_example_runs_in_a_process(path: Path, tmp_path: Path) -> None:
    """The same from a shell: an example imports all that it needs, and exits with 0 without a warning."""
    command = [sys.executable, "-W", "error", str(path), *ARGUMENTS.get(path.name, [])]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=100)

    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr  # lines of the log stand there too
    assert done.stdout.strip()


@pytest.mark.long
def test_the_test_of_failover_runs_under_pytest(tmp_path: Path) -> None:
    """In a project without settings of its own, as its docstring says."""
    test = tmp_path / "test_failover.py"
    test.write_text((ROOT / "examples" / "test_failover.py").read_text("utf-8"), "utf-8")
    settled = "asyncio_default_fixture_loop_scope=function"  # without it old versions only warn
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-o", settled, test.name]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=100)

    assert "3 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", NEEDS)
def test_a_program_to_copy_is_read_at_one_sitting(name: str) -> None:
    """It has 30 to 80 lines, the first of which says what it does."""
    lines = (ROOT / "examples" / name).read_text("utf-8").splitlines()

    assert 30 <= len(lines) <= 80
    assert lines[0].startswith('"""')


def test_the_index_names_every_example_once() -> None:
    """The first page of the documentation leads to each program, and the most needed stand first."""
    index = (ROOT / "docs" / "index.md").read_text("utf-8")

    named = re.findall(r"\| \[([\w.]+)\]\(\.\./examples/\1\) \|", index)

    assert sorted(named) == [path.name for path in EXAMPLES]
    assert named[: len(NEEDS)] == list(NEEDS)
