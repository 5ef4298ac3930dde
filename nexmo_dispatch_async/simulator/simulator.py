"""`Simulator`: the service in a box, ready to use from a test or from the command line.

It wires the parts together and owns the clock; the behaviour of the service is in `engine.py` and `api/`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import anyio

from nexmo_dispatch_async.event_loop import Unpicklable, running_loop
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator.api.origin_check import own_hosts
from nexmo_dispatch_async.simulator.api.server import Server
from nexmo_dispatch_async.simulator.api.service import BASE_PATH, TOKEN_PATH, Service
from nexmo_dispatch_async.simulator.by_hand import ByHand
from nexmo_dispatch_async.simulator.callbacks.bodies import Delivery, Signer
from nexmo_dispatch_async.simulator.callbacks.delivery import CallbackClient
from nexmo_dispatch_async.simulator.config_file import load_config
from nexmo_dispatch_async.simulator.control.routes import Control
from nexmo_dispatch_async.simulator.engine import Engine
from nexmo_dispatch_async.simulator.observed import Observed
from nexmo_dispatch_async.simulator.state_file import StateFile
from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication, SimulatedApplications
from nexmo_dispatch_async.simulator.world.clock import Clock
from nexmo_dispatch_async.simulator.world.faults import Faults
from nexmo_dispatch_async.simulator.world.history import History, Record
from nexmo_dispatch_async.simulator.world.people import People
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_async.simulator.world.settings import Settings
from nexmo_dispatch_async.simulator.world.tokens import Account, Tokens
from nexmo_dispatch_core.tasks import Closing
from nexmo_dispatch_core.unfinished import shows_unfinished

if TYPE_CHECKING:
    from nexmo_dispatch_async.client import DispatchClient

__all__ = ["Simulator"]

# A fixed beginning makes two runs equal, timestamps and signatures included.
_VIRTUAL_EPOCH: Final = datetime(2025, 1, 1, tzinfo=UTC)
# Without a seed, ids and latencies are still repeatable; only credentials and tokens are drawn anew.
_REPEATABLE: Final = 0
_NOT_RUNNING: Final = "the simulator is not running: use it with `async with`"
_PARALLEL_CALLBACKS: Final = 64
_CLOSE_TIMEOUT_S: Final = 2.0


class Simulator(Unpicklable, ByHand, Observed):
    """A simulated Dispatch service on a loopback port.

    By default time is virtual: it stands still until `advance()` moves it, and callbacks are delivered one
    after another, in order, while `advance()` runs. With `speed` it follows real time instead, and callbacks
    go out by themselves.

    Args:
        seed: Source of ids, latencies, credentials and tokens: equal seeds give equal transcripts. None draws
            new credentials and tokens, unique to this simulator; ids and latencies are then those of seed 0.
        speed: Virtual seconds per real second; None for virtual time that moves only with `advance()`.
        config: A TOML file of people, faults and switches; the documentation lists its tables.
        people: The same people from Python; those in `config` are added.
        settings: The switches.
        host: Address to bind. Any client that can reach a non-loopback address can drive the simulator, and
            make it post to any address this machine can reach; a warning is logged.
        port: Port to bind; 0 takes a free one.
        allowed_hosts: Host names that requests may use besides loopback and the bound address, such as the
            name of a container. Requests to other names are answered 403: a web site may have made them.
        state: A file that keeps the account, its applications and its tokens for the next simulator, which
            resumes at the virtual time of this one's end. Workflows in flight are not kept.
        epoch: The moment of virtual time 0; 2025-01-01 UTC by default, the present when time is real.
        history: Maximum number of records in `transcript()`, and of ended workflows kept in memory.
        observer: Called with each record when it is added.
        monotonic: The real clock, in seconds.
        signing_clock: Clock for the signatures of callbacks, in epoch seconds: `time.time` for receivers in
            other processes, which check the age of a signature by real time. None signs by virtual time, for
            receivers with `clock=sim.timestamp`.

    Raises:
        ConfigurationError: `config` has an unknown table or value, the state cannot be read, or an entry of
            `allowed_hosts` is not a host name or address.
    """

    def __init__(
        self,
        *,
        seed: int | str | None = None,
        speed: float | None = None,
        config: str | Path | None = None,
        people: People | None = None,
        settings: Settings | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        allowed_hosts: Iterable[str] = (),
        state: str | Path | None = None,
        epoch: datetime | None = None,
        history: int = 100_000,
        observer: Callable[[Record], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        signing_clock: Callable[[], float] | None = None,
    ) -> None:
        self._state = kept = None if state is None else StateFile(state)
        base_seed = _REPEATABLE if seed is None else seed
        random = SeededRandom(base_seed if kept is None else kept.seed(base_seed))
        secret = SeededRandom(secrets.token_hex(16)) if seed is None else random
        account = Account(secret) if kept is None else kept.account(secret)
        start = _VIRTUAL_EPOCH if speed is None else datetime.now(UTC)
        self._epoch = epoch or (start if kept is None else kept.epoch(start))
        # what may be changed at any time
        self.people: People = people or People()
        self.settings: Settings = settings or Settings()
        self.faults: Faults = Faults(random)
        if config is not None:
            load_config(config, people=self.people, faults=self.faults, settings=self.settings)
        # Clients measure in real time: a faster clock must not end a token, nor may a jump of it move `Date`.
        self._clock = Clock(speed, monotonic)
        runs = self._clock.runs
        wire_epoch = datetime.now(UTC) if runs else self._epoch
        # the service
        self._history = History(history, observer)
        self._tokens = Tokens(secret)
        self._engine = Engine(
            settings=self.settings,
            people=self.people,
            applications=SimulatedApplications(random),
            random=random,
            signer=Signer(
                api_key=account.api_key,
                secret=account.signature_secret,
                epoch=self._epoch,
                random=random,
                clock=signing_clock,
            ),
            history=self._history,
            epoch=self._epoch,
            keep=history,
            faults=self.faults,
        )
        self._service = Service(
            engine=self._engine,
            account=account,
            tokens=self._tokens,
            random=random,
            epoch=self._epoch,
            faults=self.faults,
            wire_epoch=wire_epoch,
            wire_ms=self._clock.real_ms if runs else None,
        )
        # the world outside
        self._advancing = anyio.Lock()
        hosts = own_hosts(host, allowed_hosts)
        control = Control(
            self, engine=self._engine, epoch=self._epoch, hosts=hosts, advancing=self._advancing.locked
        )
        self._server = Server(
            self._service,
            host=host,
            port=port,
            hosts=hosts,
            before=self._catch_up,
            after=self._after_request,
            mount=control.mount,
        )
        self._callback_client = CallbackClient()
        self._stack: AsyncExitStack | None = None
        self._driver: asyncio.Task[None] | None = None
        self._closing = Closing()
        self._wake = anyio.Event()
        self._drained = anyio.Event()
        # the account
        self.client_id: str = account.client_id
        self.client_secret: str = account.client_secret
        self.api_key: str = account.api_key
        self.signature_secret: str = account.signature_secret
        self._default_application: SimulatedApplication | None = None
        if kept is not None:
            applications = self._engine.applications
            kept.attach(
                account=account,
                applications=applications,
                tokens=self._tokens,
                epoch=wire_epoch,
                now=lambda: self.time,
            )
            self._default_application = next(reversed(list(applications)), None)

    @shows_unfinished
    def __repr__(self) -> str:
        state = self.url or "not running"
        return f"<Simulator {state}, at {self.now:g} s, workflows in flight: {self.in_flight}>"

    # ---- life

    async def __aenter__(self) -> Self:
        running_loop()
        async with AsyncExitStack() as stack:
            if self._state is not None:
                await stack.enter_async_context(self._state)
            await stack.enter_async_context(self._callback_client)
            await stack.enter_async_context(self._server)
            self._stack = stack.pop_all()
        if self._clock.runs:
            self._driver = asyncio.create_task(self._follow_the_clock(), name="dispatch-simulator")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop; deliveries in progress get two seconds, due callbacks stay undelivered. Idempotent."""
        await self._closing.run(self._close)

    async def _close(self) -> None:
        driver, self._driver = self._driver, None
        stack, self._stack = self._stack, None
        try:
            if driver is not None:
                self._wake_driver()
                await asyncio.wait([driver], timeout=_CLOSE_TIMEOUT_S)
                driver.cancel()
                await asyncio.wait([driver])
        finally:
            if stack is not None:
                await stack.aclose()
        if driver is not None and not driver.cancelled():
            driver.result()  # raises the driver's exception

    # ---- addresses and credentials

    @property
    def url(self) -> str:
        """Scheme, host and port; empty before it runs."""
        return self._server.url

    @property
    def base_url(self) -> str:
        """The `base_url` of a client; RuntimeError before the simulator runs."""
        return self._running_url() + BASE_PATH

    @property
    def token_url(self) -> str:
        """The `token_url` of `KpnOAuth`; RuntimeError before the simulator runs."""
        return self._running_url() + TOKEN_PATH

    def _running_url(self) -> str:
        # The port is unknown before the start; a URL without it would be accepted here and fail elsewhere.
        if not self.url:
            raise RuntimeError(_NOT_RUNNING)
        return self.url

    def client(
        self, *, client_id: str | None = None, client_secret: str | None = None, **kwargs: Any
    ) -> DispatchClient:
        """Return a `DispatchClient` for this simulator; use it with `async with`.

        Args:
            client_id: Instead of the account's own, for a test with a wrong one.
            client_secret: Instead of the account's own, the same.
            kwargs: Settings of `DispatchClient`. Without `application_id` the client uses the application
                that `create_application()` created last, or a new one without URLs.

        Raises:
            ConfigurationError: Credentials are given twice, or a setting is wrong.
            RuntimeError: The simulator is not running.
        """
        from nexmo_dispatch_async.auth import KpnOAuth
        from nexmo_dispatch_async.client import DispatchClient

        if "auth" not in kwargs:
            own_id, own_secret = client_id or self.client_id, client_secret or self.client_secret
            kwargs["auth"] = KpnOAuth(own_id, own_secret, token_url=self.token_url)
        elif client_id is not None or client_secret is not None:
            raise ConfigurationError(
                "auth has the credentials: give no client_id and no client_secret beside it"
            )
        kwargs.setdefault("base_url", self.base_url)
        if "application_id" not in kwargs:
            application = self._default_application or self.create_application()
            kwargs["application_id"] = application.id
        return DispatchClient(**kwargs)

    def create_application(
        self, *, status_url: str = "", inbound_url: str = "", name: str = "Simulated application"
    ) -> SimulatedApplication:
        """Create an application without an HTTP request; an empty URL receives no callbacks."""
        application = self._engine.applications.add(name, status=status_url, inbound=inbound_url)
        self._default_application = application
        if self._stack is not None:
            self._after_request()
        return application

    @property
    def applications(self) -> list[SimulatedApplication]:
        """All applications of the account, oldest first."""
        return list(self._engine.applications)

    # ---- time

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        self._catch_up()
        return self._engine.now_ms / 1000

    @property
    def time(self) -> datetime:
        """The virtual time as a datetime, as in the timestamps of callbacks."""
        return self._epoch + timedelta(seconds=self.now)

    def timestamp(self) -> float:
        """Return `time` in epoch seconds, for the `clock` of a receiver."""
        return self.time.timestamp()

    @property
    def speed(self) -> float | None:
        """Virtual seconds per real second; 0 pauses. None when time moves only with `advance()`."""
        return self._clock.speed if self._clock.runs else None

    @speed.setter
    def speed(self, speed: float) -> None:
        if not self._clock.runs:
            raise ValueError("time moves only with advance() here: use Simulator(speed=…)")
        self._clock.speed = speed
        self._wake_driver()

    async def advance(self, seconds: float, *, settle: float = 5.0) -> None:
        """Advance virtual time and deliver the callbacks that come due, in order.

        Then settle: advance further until the platform has reported the first statuses of new messages and
        the final reports. Settling does not wait for people, expiries or retries.

        Args:
            seconds: Virtual seconds.
            settle: Maximum number of further virtual seconds to settle; 0 stops the clock exactly.

        Raises:
            ValueError: `seconds` or `settle` is negative.
            RuntimeError: The simulator is not running.
        """
        if not (seconds >= 0 and settle >= 0):
            raise ValueError("seconds and settle must not be negative: time only moves forward")
        async with self._moving():
            if self._clock.runs:
                await self._jump(round(seconds * 1000))
                return
            target = self._engine.now_ms + round(seconds * 1000)
            await self._run_until(target)
            limit = target + round(settle * 1000)
            while not self._engine.settled:
                at = self._engine.next_at()
                if at is None or at > limit:
                    break
                await self._run_until(at)

    async def advance_until_idle(self, *, limit: float = 172_800.0) -> bool:
        """Advance time until no event is scheduled.

        Args:
            limit: Maximum number of virtual seconds; two days by default, which covers all retries.

        Returns:
            Whether the simulator is idle; False when the limit came first.

        Raises:
            RuntimeError: The simulator is not running, or its time follows real time.
        """
        if self._clock.runs:
            raise RuntimeError("time runs by itself here; use advance()")
        async with self._moving():
            end = self._engine.now_ms + round(limit * 1000)
            while (at := self._engine.next_at()) is not None:
                if at > end:
                    await self._run_until(end)
                    return False
                await self._run_until(at)
            return True

    async def _jump(self, ms: int) -> None:
        """Move a running clock forward and wait until the callbacks due by then have been started."""
        self._clock.jump(ms)
        self._catch_up()
        self._drained = anyio.Event()
        self._wake_driver()
        await self._drained.wait()

    @contextlib.asynccontextmanager
    async def _moving(self) -> AsyncGenerator[None]:
        if self._stack is None:
            raise RuntimeError(_NOT_RUNNING)
        async with self._advancing:
            yield

    async def _run_until(self, until_ms: int) -> None:
        while (delivery := self._engine.next_delivery(until_ms)) is not None:
            try:
                answer = await self._callback_client.deliver(delivery)
            except BaseException:
                self._engine.put_back(delivery)
                raise
            self._engine.answered(delivery, answer)

    def _catch_up(self) -> None:
        """Process all events up to the present of a running clock."""
        if self._clock.runs:
            self._engine.pass_time(self._clock.now_ms())
            if not self._engine.settled:
                self._wake_driver()

    def _wake_driver(self) -> None:
        self._wake.set()

    def _after_request(self) -> None:
        self._wake.set()
        if self._state is not None:
            self._state.changed()

    async def _follow_the_clock(self) -> None:
        """Deliver callbacks as they come due in real time, concurrently and so unordered (contract 5.10)."""
        limiter = anyio.CapacityLimiter(_PARALLEL_CALLBACKS)
        async with anyio.create_task_group() as deliveries:
            while self._stack is not None:  # until it is closed
                self._catch_up()
                self._wake = wake = anyio.Event()
                while (delivery := self._engine.next_delivery(self._engine.now_ms)) is not None:
                    await limiter.acquire_on_behalf_of(delivery)
                    deliveries.start_soon(self._carry, delivery, limiter)
                self._drained.set()
                at = self._engine.next_at()
                pause = math.inf if at is None else self._clock.real_seconds_until(at)
                with anyio.move_on_after(pause):
                    await wake.wait()

    async def _carry(self, delivery: Delivery, limiter: anyio.CapacityLimiter) -> None:
        try:
            answer = await self._callback_client.deliver(delivery)
        finally:
            limiter.release_on_behalf_of(delivery)
        self._catch_up()
        self._engine.answered(delivery, answer)
        self._wake_driver()
