"""The commands of docs/one_lifespan.md in a shell: what they print, and that a crash sends nothing twice."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from tests.support.nats_server import free_ports
from tests.support.pages import blocks
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "one_lifespan.md"
ENVIRONMENT = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def commands(folder: Path, changes: Mapping[str, str]) -> list[str]:
    """Save the program of the page, and return its commands with some changes, each of which happens."""
    code: list[str] = []
    for block in blocks(PAGE):
        if block.title == "shop.py":
            (folder / block.title).write_text(block.code, "utf-8")
        elif block.language == "sh":
            code.append(block.code)
    text = "\0".join(code)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text.split("\0")


@contextlib.contextmanager
def running(command: str, folder: Path, ready: str) -> Generator[str]:
    """Run a command until the end of the block; yield what it printed until it was ready."""
    process = subprocess.Popen(
        ["sh", "-c", command],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    with process:
        try:
            assert process.stdout is not None
            printed = ""
            while ready not in printed:
                printed += (line := process.stdout.readline())
                assert line, printed
            yield printed
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def shell(command: str, folder: Path) -> str:
    """Run a command to its end, and return what it printed."""
    arguments = ["sh", "-c", command]
    done = subprocess.run(
        arguments, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=False, timeout=30
    )
    return done.stdout


@pytest.mark.timeout(120)
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_show_a_notice_an_answer_and_a_crash(tmp_path: Path) -> None:
    """A notice reaches by SMS, a customer is answered, and callbacks tell what a killed process has sent."""
    ours, service = free_ports(2)

    def told(order: int) -> str:
        notice = f"http://127.0.0.1:{ours}/orders/{order}/notice"
        return f"until curl -s {notice} | grep reached; do sleep 0.1; done"

    def accepted(number: int) -> str:
        state = f"http://127.0.0.1:{service}/control/state"
        return f"until curl -s {state} | grep -o '\"accepted\":{number},'; do sleep 0.1; done"

    simulate, serve, look, crash = commands(
        tmp_path,
        {
            "--speed 60 ": f"--port {service} --speed 600 ",
            "> env.sh": "| tee env.sh",
            "--port 8080": f"--port {ours}",
            ":8080": f":{ours}",
            ":8701": f":{service}",
            "sleep 12": f"({told(17)}) > reached",
        },
    )

    with running(simulate, tmp_path, "# callbacks go to"):
        with running(serve, tmp_path, "Uvicorn running") as printed:
            shown = shell(look, tmp_path)
            shell(accepted(2), tmp_path)  # the answer to the customer
            with running(crash, tmp_path, '"id"'):
                shell(accepted(3), tmp_path)
                (server,) = re.findall(r"Started server process \[(\d+)\]", printed)
                os.kill(int(server), signal.SIGKILL)
        with running(serve, tmp_path, "Uvicorn running"):
            repeated = shell(crash.splitlines()[-1], tmp_path)
            state = shell(told(18), tmp_path)
        number = shell(accepted(3), tmp_path)

    assert re.match(r'\{"dispatch":"[0-9a-f-]{36}"}\{"state":"reached on sms"}', shown), shown
    assert repeated == '{"detail":"the customer was told, or perhaps: GET tells"}'
    assert (state, number) == ('{"state":"reached on whatsapp"}\n', '"accepted":3,\n')
