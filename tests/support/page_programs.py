"""Programs of a page in a shell: the files are saved, and the commands run as a reader runs them."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path

from tests.support.pages import blocks

ENVIRONMENT = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def commands(page: Path, program: str, folder: Path, changes: Mapping[str, str]) -> list[str]:
    """Save the program of a page, and return its commands with some changes, each of which happens."""
    code: list[str] = []
    for block in blocks(page):
        if block.title == program:
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
