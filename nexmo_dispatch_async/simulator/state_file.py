"""The state of a simulator in a file, which survives a restart: the account, its applications, its tokens.

Workflows in flight and the records are not kept.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import anyio.to_thread
import msgspec

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication, SimulatedApplications
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_async.simulator.world.tokens import Account, Tokens
from nexmo_dispatch_core.lenient import without_mark
from nexmo_dispatch_core.private_files import locate
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["StateFile"]

_FIRST: Final = 1


class _Account(msgspec.Struct):
    client_id: str
    client_secret: str
    api_key: str
    signature_secret: str


class _Kept(msgspec.Struct):
    #: version of the format
    version: Literal[1]
    #: number of simulators that have used the file, the running one included
    starts: int
    time: datetime
    account: _Account
    applications: list[SimulatedApplication]
    #: expiry by token
    tokens: dict[str, datetime]


class StateFile:
    """A file with the state of one simulator, replaced as a whole after each change.

    It contains the simulated credentials, so only its owner may read it. Simulators must not share a file.

    Args:
        path: The file, which need not exist; its folder must exist.

    Raises:
        ConfigurationError: The file is not the state of a simulator, or is a link that another user made.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self._path = locate(path)  # renaming over a link would leave its target as it was
        except OSError as error:
            raise ConfigurationError(f"cannot keep the state in {path}: {error.strerror}") from error
        self._kept = _read(self._path)
        self._starts = _FIRST if self._kept is None else self._kept.starts + 1
        self._snapshot: Callable[[], _Kept] | None = None
        self._mark: Callable[[], tuple[int, ...]] = tuple[int, ...]
        self._written: tuple[int, ...] | None = None
        self._writing: asyncio.Task[None] | None = None

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<StateFile {self._path}, start {self._starts}>"

    def seed(self, seed: int | str) -> int | str:
        """Return the seed of ids: another one at each start, so that ids are not repeated."""
        return seed if self._starts == _FIRST else f"{seed}/start {self._starts}"

    def epoch(self, default: datetime) -> datetime:
        """Return the moment at which virtual time resumes."""
        return default if self._kept is None else max(default, self._kept.time)

    def account(self, random: SeededRandom) -> Account:
        """Return the account of the file, a new one if there is none."""
        account = Account(random)
        if self._kept is not None:
            for name in _Account.__struct_fields__:
                setattr(account, name, getattr(self._kept.account, name))
        return account

    def attach(
        self,
        *,
        account: Account,
        applications: SimulatedApplications,
        tokens: Tokens,
        epoch: datetime,
        now: Callable[[], datetime],
    ) -> None:
        """Restore applications and tokens, and keep them from now on.

        Args:
            account: The return value of `account()`.
            applications: The applications, still empty.
            tokens: The tokens, still empty.
            epoch: The moment of time 0 on the clock of the tokens.
            now: Returns the virtual time.
        """
        if self._kept is not None:
            for application in self._kept.applications:
                applications.restore(application)
            for token, ends in self._kept.tokens.items():
                tokens.restore(token, round((ends - epoch).total_seconds() * 1000))

        def snapshot() -> _Kept:
            return _Kept(
                version=1,
                starts=self._starts,
                time=now(),
                account=_Account(
                    account.client_id, account.client_secret, account.api_key, account.signature_secret
                ),
                applications=list(applications),
                tokens={token: epoch + timedelta(milliseconds=ends) for token, ends in tokens.kept()},
            )

        self._snapshot = snapshot
        self._mark = lambda: (applications.changes, tokens.changes)

    async def __aenter__(self) -> Self:
        try:
            await self._write()
        except OSError as error:
            raise ConfigurationError(f"cannot keep the state in {self._path}: {error.strerror}") from error
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write the final state, with the time of the end.

        Raises:
            OSError: The file cannot be written.
        """
        writing, self._writing = self._writing, None
        with anyio.CancelScope(shield=True):
            if writing is not None:
                await writing
            await self._write()

    def changed(self) -> None:
        """Write soon if the state has changed; to be called after each possible change."""
        if self._mark() != self._written and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write_changes(), name="dispatch-simulator-state")

    async def _write_changes(self) -> None:
        with suppress(OSError):  # the next change tries again, and the end raises
            while self._mark() != self._written:
                await self._write()

    async def _write(self) -> None:
        if self._snapshot is None:
            raise RuntimeError("call attach() first")
        mark = self._mark()
        data = msgspec.json.format(msgspec.json.encode(self._snapshot()), indent=1)
        await anyio.to_thread.run_sync(_replace, self._path, data)
        self._written = mark


def _replace(path: Path, data: bytes) -> None:
    """Write to a second file and rename it: a reader sees the old or the new state, also after a crash."""
    beside = path.with_name(path.name + ".new")
    # A second file left by a crash, or put there by another user, is removed and never written to.
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _read(path: Path) -> _Kept | None:
    try:
        kept = msgspec.json.decode(without_mark(path.read_bytes()), type=_Kept)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"cannot read the state in {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not the state of a simulator: {error}") from error
    if kept.time.tzinfo is None or any(ends.tzinfo is None for ends in kept.tokens.values()):
        raise ConfigurationError(f"{path} is not the state of a simulator: times need an offset")
    kept.time = kept.time.astimezone(UTC)
    return kept
