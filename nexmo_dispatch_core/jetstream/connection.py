"""`Connection`: one connection to a cluster of NATS, with our settings and errors instead of the driver's.

It knows no stream. A dead server is noticed within about six seconds, and reconnecting never ends: the
defaults of nats-py are four minutes, and sixty attempts after which the connection stays closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar, cast

import anyio
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from nexmo_dispatch_core.checks import DAY, Checks
from nexmo_dispatch_core.jetstream.address import Address, read_address
from nexmo_dispatch_core.jetstream.failures import (
    TROUBLE,
    ClosedError,
    Failure,
    MakeError,
    RefusedError,
    RightsError,
    failure_of,
    is_denied,
)
from nexmo_dispatch_core.tasks import Closing, end
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["LEAST_VERSION", "Connection"]

T = TypeVar("T")

_checks = Checks(ValueError)
#: Atomic batches came with 2.12.0, which refuses those with conditions. 2.15 is advised, since it writes the
#: log of a cluster in groups.
LEAST_VERSION: Final = (2, 12, 1)
#: Seconds between two pings, and how many may be unanswered.
_PING, _UNANSWERED = 2, 2
#: Seconds that one attempt waits for a response, and that pass between two attempts.
_ATTEMPT: Final = 2.0
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 0.5


class Connection:
    """A connection, which is made anew as often as it takes.

    Args:
        url: See `read_address`. It is used to connect and never shown.
        error: Makes the errors of the package.
        name: What the server shows in `connz`.
        timeout: Seconds until a call has failed; a new leader is elected within about six.

    Raises:
        ValueError: The URL cannot be read, and the message does not quote it; or the timeout is out of its
            range.
    """

    def __init__(self, url: str, *, error: MakeError, name: str, timeout: float = 15.0) -> None:
        _checks.seconds("timeout", timeout, zero=False, most=DAY)
        self._address: Address = read_address(url)
        self._error = error
        self._name = name
        self._timeout = timeout
        self._client: Client | None = None
        self._closing = Closing()
        self._connecting = asyncio.Lock()
        self._listeners: dict[str, Callable[[bytes | None], object]] = {}
        # what the server said beside responses
        self._refusals = 0
        self._last: BaseException | None = None
        self._denied = asyncio.Event()
        # when it last left a server that took requests, and for too long could serve none
        self._left = -math.inf
        #: What the names of streams begin with.
        self.space: str = self._address.space
        #: The space and a host, without user and password.
        self.shown: str = self._address.shown
        #: The URLs of monitoring ports.
        self.monitors: tuple[str, ...] = self._address.monitors

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Connection to {self.shown}, {'open' if self.is_open else 'closed'}>"

    @property
    def is_open(self) -> bool:
        """Whether `open` was called last."""
        return self._client is not None

    @property
    def clustered(self) -> bool:
        """Whether the server belongs to a cluster."""
        return bool(self._client is not None and _server_info(self._client).get("cluster"))

    @property
    def version(self) -> str:
        """The version of the server."""
        return "" if self._client is None else str(_server_info(self._client).get("version", ""))

    def is_same_as(self, other: Connection) -> bool:
        """Return whether both use the same space of the same servers."""
        mine, theirs = self._address, other._address
        return mine.space == theirs.space and set(mine.servers) == set(theirs.servers)

    async def open(self) -> None:
        """Connect; again without effect.

        Raises:
            Exception: Of the package: there is no server, it refuses the credentials, it is too old, or
                has no JetStream.
        """
        if self._client is None:
            self._client = await self._guarded(self._connect)

    async def aclose(self) -> None:
        """Disconnect."""
        await self._closing.run(self._close)

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(*TROUBLE):  # there is nothing to close then
                await client.close()

    def listen(self, subject: str, on_message: Callable[[bytes | None], object]) -> None:
        """Call a function with each message of a subject from the next opening on.

        Such messages are hints: they are lost while the connection is cut, and then the function is called
        with None.
        """
        self._listeners[subject] = on_message

    async def tell(self, subject: str, payload: bytes = b"") -> None:
        """Send a hint; it is lost where it cannot be sent."""
        with contextlib.suppress(*TROUBLE):
            await (await self._connected()).publish(subject, payload)

    async def request(
        self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None
    ) -> bytes:
        """Make one attempt at a request, and return the response.

        Raises:
            Exception: One of `TROUBLE`.
        """
        client = await self._connected()
        before = self._refusals
        try:
            answer = await client.request(subject, payload, timeout=_ATTEMPT, headers=headers)
        except TimeoutError:
            if self._refusals != before:
                raise RightsError from None
            raise
        return answer.data

    async def collect(self, subject: str, payload: bytes) -> list[Msg]:
        """Make one attempt at a request that gets several responses, up to one with a status.

        Raises:
            Exception: One of `TROUBLE`.
        """
        client = await self._connected()
        found: list[Msg] = []
        inbox = await client.subscribe(client.new_inbox())  # pyright: ignore[reportUnknownMemberType] - see above
        try:
            await client.publish(subject, payload, reply=inbox.subject)
            while not found or "Status" not in (found[-1].headers or {}):
                found.append(await inbox.next_msg(timeout=_ATTEMPT))
        finally:
            with contextlib.suppress(*TROUBLE):
                await inbox.unsubscribe()
        if (found[-1].headers or {}).get("Status") == "503":
            raise errors.NoRespondersError
        return found

    async def send(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        """Send a message that gets no response."""
        await (await self._connected()).publish(subject, payload, headers=headers)

    async def attempt(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a function, again and again while there is no server or no leader, for at most `timeout`.

        After a failure the next call goes to another server: this one may have lost its cluster.

        Raises:
            WrongSequenceError: The function raised it.
            Exception: Of the package, for all else that the driver or the server says.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout
        wait = _FIRST_WAIT
        while True:
            try:
                return await work()
            except TROUBLE as error:
                failure = failure_of(error)
            if failure.kind != "away" or asyncio.get_running_loop().time() + wait >= deadline:
                break
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
        if failure.kind == "away":
            await self._leave_server()
        # Outside of `except`: the exception of the driver may quote subjects, and would be its context.
        raise self._error(failure)

    async def _leave_server(self) -> None:
        """Connect to a server anew, unless that was done just now; it may be another one."""
        client, now = self._client, asyncio.get_running_loop().time()
        if client is not None and len(self._address.servers) > 1 and now >= self._left + self._timeout:
            self._left = now
            await client.force_reconnect()

    def failed(self, failure: Failure) -> Exception:
        """Return the error of the package for a failure."""
        return self._error(failure)

    async def _connected(self) -> Client:
        """Return the client; a new one when refused credentials have closed the last one."""
        client = self._client
        if client is not None and client.is_closed:
            async with self._connecting:
                client = self._client
                if client is not None and client.is_closed:
                    client = self._client = await self._connect()
        if client is None:
            raise ClosedError
        return client

    async def _guarded(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except TROUBLE as error:
            failure = failure_of(error)
        except _OldServerError as error:
            failure = Failure("other", str(error))
        raise self._error(failure)

    async def _connect(self) -> Client:
        """Connect to any server, within `timeout`; nats-py itself would try for ever and not say why."""
        self._last = None
        self._denied.clear()
        connecting = asyncio.create_task(self._dial(), name="nats-connect")
        denied = asyncio.create_task(self._denied.wait(), name="nats-denied")
        try:
            await asyncio.wait(
                {connecting, denied}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if connecting.done():
                client = connecting.result()
            elif self._last is not None:
                raise self._last
            else:
                raise TimeoutError
            await self._check(client)
        except BaseException:
            with anyio.CancelScope(shield=True):  # it may have connected in the instant of a cancellation
                await end(connecting)
                if not connecting.cancelled() and connecting.exception() is None:
                    await connecting.result().close()
            raise
        finally:
            denied.cancel()
        return client

    async def _dial(self) -> Client:
        address = self._address
        options: dict[str, Any] = {}  # Any: keyword arguments of nats-py
        if address.password is not None:
            options |= {"user": address.user, "password": address.password}
        elif address.user is not None:
            options["token"] = address.user
        if address.tls is not None:
            options["tls"] = address.tls
        if address.credentials is not None:
            options["user_credentials"] = address.credentials
        client = Client()
        try:
            await client.connect(
                list(address.servers),
                name=self._name,
                error_cb=partial(self._note, client),
                reconnected_cb=self._again,
                connect_timeout=int(_ATTEMPT),
                reconnect_time_wait=cast("int", 0.2),  # it is slept, so any number serves
                max_reconnect_attempts=-1,
                ping_interval=_PING,
                max_outstanding_pings=_UNANSWERED,
                **options,
            )
        except BaseException:  # also when this is cancelled, since the time is over
            await client.close()
            raise
        return client

    async def _check(self, client: Client) -> None:
        """Check the server, and listen.

        Raises:
            _OldServerError: Its version lacks what is needed.
        """
        server = _server_info(client)
        found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", str(server.get("version", "")))
        if found is None or tuple(map(int, found.groups())) < LEAST_VERSION:
            known = found[0] if found is not None else "no version"
            raise _OldServerError(
                f"the server has version {known}: nats-server 2.12.1 is needed for atomic batches"
            )
        if not server.get("jetstream") and not server.get("cluster"):
            raise RefusedError(10076)
        for subject, on_message in self._listeners.items():
            # Its type names a future of an unknown result, which is not used
            await client.subscribe(subject, cb=_hearing(on_message))  # pyright: ignore[reportUnknownMemberType]

    async def _note(self, client: Client, error: Exception) -> None:
        """Note what the driver says beside responses; by default it writes a traceback to the log."""
        if not self._denied.is_set():
            self._last = error  # not the reset behind a refusal
        transport: Any = client._transport  # noqa: SLF001 - see below; Any: nats-py does not type `close`
        if transport is not None and not client.is_connected:
            # A server that takes connections and says nothing: nats-py goes on to the next one, and leaves
            # this connection open.
            transport.close()
        if "permissions violation" in str(error).lower():
            self._refusals += 1
        if is_denied(error):
            self._denied.set()

    async def _again(self) -> None:
        """Tell listeners that they may have missed messages."""
        for on_message in self._listeners.values():
            on_message(None)


class _OldServerError(Exception):
    """The server is too old."""


def _hearing(on_message: Callable[[bytes | None], object]) -> Callable[[Msg], Awaitable[None]]:
    async def hear(message: Msg) -> None:
        on_message(message.data)

    return hear


def _server_info(client: Client) -> dict[str, object]:
    """Return what the server said of itself (INFO)."""
    return dict(client._server_info)  # noqa: SLF001 - nats-py shows the version only, and not the cluster
