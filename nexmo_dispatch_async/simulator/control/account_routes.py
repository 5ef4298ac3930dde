"""Routes of the control API for a first contact: credentials, a sample, an inbound message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from nexmo_dispatch_async.simulator.api.gateway import TOKEN_PATH
from nexmo_dispatch_async.simulator.api.service import BASE_PATH
from nexmo_dispatch_async.simulator.control.controlled import ControlledSimulator
from nexmo_dispatch_async.simulator.control.http import Body, Route, json_answer, origin, read, refuse
from nexmo_dispatch_async.simulator.control.shell_commands import as_curl, sample
from nexmo_dispatch_async.simulator.control.views import AccountView, ApplicationView, ClockMoved, SampleView
from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication

__all__ = ["AccountRoutes"]

_Address = Annotated[str, msgspec.Meta(min_length=1, max_length=50)]


class _Inbound(Body, frozen=True, kw_only=True):
    """A message from a customer; `application` is the one created last if it is omitted."""

    channel: Literal["sms", "mms", "whatsapp", "viber_service_msg", "messenger"]
    from_: _Address = msgspec.field(name="from")
    to: _Address
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    application: str | None = None


class AccountRoutes:
    """Routes under `/control/account`, `/control/sample` and `/control/inbound`.

    Args:
        sim: The simulator.
        deliver: Delivers callbacks that are due, when the clock is moved by hand.
    """

    def __init__(self, sim: ControlledSimulator, deliver: Callable[[], Awaitable[web.Response]]) -> None:
        self._sim = sim
        self._deliver = deliver

    def routes(self) -> Iterator[Route]:
        """Yield each route."""
        yield Route(
            "GET",
            "/control/account",
            self._account,
            "the simulated credentials and settings of a client and of a receiver",
            answer=AccountView,
        )
        yield Route(
            "GET",
            "/control/sample",
            self._sample,
            "a workflow, and the command that sends it",
            answer=SampleView,
        )
        yield Route(
            "POST",
            "/control/inbound",
            self._inbound,
            "let a customer write without having been written to",
            body=_Inbound,
            answer=ClockMoved,
        )

    async def _account(self, request: web.Request) -> web.Response:
        sim, here = self._sim, origin(request)
        return json_answer(
            AccountView(
                base_url=here + BASE_PATH,
                token_url=here + TOKEN_PATH,
                client_id=sim.client_id,
                client_secret=sim.client_secret,
                signature_secrets=f"{sim.api_key}={sim.signature_secret}",
                applications=[_view(application) for application in reversed(sim.applications)],
                application=None if sim.default_application is None else sim.default_application.id,
            )
        )

    async def _sample(self, request: web.Request) -> web.Response:
        application = self._application(None)
        body = sample(application)
        command = as_curl(body, application=application.id, origin=origin(request), sim=self._sim)
        return json_answer(SampleView(application=application.id, body=body, curl=command))

    async def _inbound(self, request: web.Request) -> web.Response:
        body = await read(request, _Inbound)
        application = self._application(body.application)
        self._sim.inbound(
            body.text, channel=body.channel, from_=body.from_, to=body.to, application=application
        )
        return await self._deliver()

    def _application(self, uuid: str | None) -> SimulatedApplication:
        if uuid is None:
            default = self._sim.default_application
            return refuse(409, "there is no application: create one first") if default is None else default
        for application in self._sim.applications:
            if application.id == uuid.strip().lower():
                return application
        return refuse(404, "no application has this id")


def _view(application: SimulatedApplication) -> ApplicationView:
    return ApplicationView(
        id=application.id,
        name=application.name,
        status_url=application.status_url,
        inbound_url=application.inbound_url,
    )
