"""The command in this process, with its options parsed and its output read line by line as it is printed."""

import asyncio
import contextlib
import io
import os
import re
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from typer.testing import CliRunner

from nexmo_dispatch_async.cli import app as commands

BOUND_S = 25


class _Output(io.TextIOBase):
    """A stream that keeps complete lines and wakes their reader."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.grown = asyncio.Event()
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *complete, self._rest = (self._rest + text).split("\n")
        self.lines += complete
        self.grown.set()
        return len(text)


class Command:
    """A command that serves, as a task of the test's loop."""

    def __init__(self, output: _Output, task: asyncio.Task[int]) -> None:
        self._output = output
        self._read = 0
        self.task = task

    @property
    def lines(self) -> list[str]:
        """The lines that were printed so far, standard error included."""
        return list(self._output.lines)

    async def line(self) -> str:
        """Return the next line."""
        async with asyncio.timeout(BOUND_S):
            while self._read == len(self._output.lines):
                self._output.grown.clear()
                growth = asyncio.create_task(self._output.grown.wait())
                await asyncio.wait([growth, self.task], return_when=asyncio.FIRST_COMPLETED)
                growth.cancel()
                assert self._read < len(self._output.lines) or not self.task.done(), self.lines
        self._read += 1
        return self._output.lines[self._read - 1]

    async def until(self, pattern: str) -> str:
        """Read lines until one matches; return its first group, or the line if the pattern has no group."""
        while True:
            line = await self.line()
            if found := re.search(pattern, line):
                return found[1] if found.groups() else line

    async def signalled(self, number: signal.Signals) -> int:
        """Send a signal to this process, which the command has taken over; return the exit code."""
        assert signal.getsignal(number) not in (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)
        os.kill(os.getpid(), number)
        async with asyncio.timeout(BOUND_S):
            return await self.task


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Run a command to its end; return its exit code, its output and its error output."""
    done = CliRunner().invoke(commands.app, [*map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def _parsed(*arguments: str) -> Callable[[], Coroutine[Any, Any, int]]:
    """Parse the options; return the coroutine function that the command would run, with its arguments."""
    calls: list[tuple[Any, ...]] = []

    def run(*call: Any) -> int:
        calls.append(call)
        return 0

    with mock.patch("anyio.run", run):
        done = CliRunner().invoke(commands.app, arguments)
    assert done.exit_code == 0, done.output
    ((function, *values),) = calls
    return lambda: function(*values)


@asynccontextmanager
async def serving(*arguments: str) -> AsyncGenerator[Command]:
    """Run `listen` or `simulate` as a task; cancel it at the end of the block, unless it has ended."""
    start, output = _parsed(*arguments), _Output()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        command = Command(output, asyncio.create_task(start()))
        try:
            yield command
        finally:
            if not command.task.done():
                command.task.cancel()
                await asyncio.wait([command.task])
