"""Routes of the control API that make the service misbehave: switches, faults, expired tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator.control.controlled import ControlledSimulator
from nexmo_dispatch_async.simulator.control.http import Body, Nothing, Route, json_answer, read, refuse
from nexmo_dispatch_async.simulator.control.views import FaultAdded, FaultList, fault_views
from nexmo_dispatch_async.simulator.world.faults import Fault
from nexmo_dispatch_async.simulator.world.settings import Settings

__all__ = ["FaultRoutes"]


class _Switches(Body, frozen=True, kw_only=True):
    """The settings that can be changed through the control API; each is optional."""

    latency: Annotated[float, msgspec.Meta(ge=0, le=60)] | msgspec.UnsetType = msgspec.UNSET
    quota_limit: Annotated[int, msgspec.Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET
    token_fault: Literal[401, 500] | msgspec.UnsetType = msgspec.UNSET
    quota_fault: Literal[429, 500] | msgspec.UnsetType = msgspec.UNSET
    credential_error: Literal[401, 500] | msgspec.UnsetType = msgspec.UNSET
    care_window: bool | msgspec.UnsetType = msgspec.UNSET
    sandbox: bool | msgspec.UnsetType = msgspec.UNSET
    accept_bare_step: bool | msgspec.UnsetType = msgspec.UNSET
    accept_voice_application: bool | msgspec.UnsetType = msgspec.UNSET
    accept_partial_update: bool | msgspec.UnsetType = msgspec.UNSET
    accept_img: bool | msgspec.UnsetType = msgspec.UNSET
    accept_any_number: bool | msgspec.UnsetType = msgspec.UNSET
    accept_any_url: bool | msgspec.UnsetType = msgspec.UNSET
    resign_retries: bool | msgspec.UnsetType = msgspec.UNSET


class FaultRoutes:
    """Routes under `/control/settings`, `/control/faults` and `/control/tokens`.

    Args:
        sim: The simulator.
        settings: Its switches.
    """

    def __init__(self, sim: ControlledSimulator, settings: Settings) -> None:
        self._sim = sim
        self._settings = settings

    def routes(self) -> Iterator[Route]:
        """Yield each route."""
        yield Route("GET", "/control/settings", self._show_settings, "the switches", answer=_Switches)
        yield Route(
            "POST",
            "/control/settings",
            self._change_settings,
            "change switches",
            body=_Switches,
            answer=_Switches,
        )
        yield Route(
            "POST",
            "/control/tokens/expire",
            self._expire_tokens,
            "refuse every token so far",
            body=Nothing,
            answer=Nothing,
        )
        yield Route(
            "GET",
            "/control/faults",
            self._show_faults,
            "the armed faults, and how often each met something",
            answer=FaultList,
        )
        yield Route("POST", "/control/faults", self._add_fault, "arm a fault", body=Fault, answer=FaultAdded)
        yield Route(
            "POST",
            "/control/faults/clear",
            self._clear_faults,
            "remove all faults",
            body=Nothing,
            answer=FaultList,
        )
        yield Route("DELETE", "/control/faults/{id}", self._remove_fault, "remove a fault", answer=FaultList)

    async def _show_settings(self, _: web.Request) -> web.Response:
        return self._switches()

    async def _change_settings(self, request: web.Request) -> web.Response:
        switches = await read(request, _Switches)
        for name, value in msgspec.structs.asdict(switches).items():
            if value is not msgspec.UNSET:
                setattr(self._settings, name, value)
        return self._switches()

    def _switches(self) -> web.Response:
        return json_answer({name: getattr(self._settings, name) for name in _Switches.__struct_fields__})

    async def _expire_tokens(self, request: web.Request) -> web.Response:
        await read(request, Nothing)
        self._sim.expire_tokens()
        return json_answer(Nothing())

    async def _show_faults(self, _: web.Request) -> web.Response:
        return self._faults()

    async def _add_fault(self, request: web.Request) -> web.Response:
        fields = await read(request, dict[str, object])
        try:
            added = self._sim.faults.add(fields)
        except ConfigurationError as error:
            refuse(400, str(error))
        return json_answer(FaultAdded(id=added, faults=fault_views(self._sim.faults)))

    async def _remove_fault(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        try:
            self._sim.faults.remove(int(number) if number.isascii() and number.isdigit() else 0)
        except (KeyError, ValueError):  # int() refuses thousands of digits
            refuse(404, "no fault has this id")
        return self._faults()

    async def _clear_faults(self, request: web.Request) -> web.Response:
        await read(request, Nothing)
        self._sim.faults.clear()
        return self._faults()

    def _faults(self) -> web.Response:
        return json_answer(FaultList(faults=fault_views(self._sim.faults)))
