"""The settings of a client: one struct with their defaults, checked once, and their names as arguments.

What each setting means stands in the documentation of `DispatchClient`.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import aiohttp
from msgspec.structs import force_setattr

from nexmo_dispatch_async.arguments import check_tracker
from nexmo_dispatch_async.auth import check_url, header_text
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.middleware import Middleware
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.rules import DEFAULT_RULES, Rules
from nexmo_dispatch_async.transport.settings import TlsSetting, TransportSettings
from nexmo_dispatch_async.urls import check_plain_http

if TYPE_CHECKING:
    from nexmo_dispatch_async.tracking import Tracker

__all__ = ["KPN_BASE_URL", "ClientOptions", "ClientSettings", "takes_settings"]

FunctionT = TypeVar("FunctionT", bound=Callable[..., object])

KPN_BASE_URL = "https://api-prd.kpn.com/communication/nexmo"


class ClientOptions(TypedDict, total=False):
    """The types of the settings that have a default, since no struct can be unpacked for type checkers."""

    base_url: str
    session: aiohttp.ClientSession | None
    tracker: Tracker | None
    retry: RetryPolicy
    timeout: Timeout
    limit: int
    rules: Rules
    client_ref: Callable[[], str] | None
    middleware: Sequence[Middleware]
    ssl: TlsSetting
    proxy: str | None
    trust_env: bool
    keepalive_timeout: float
    applications_path: str
    applications_url: str | None
    application_header: bool
    api_version: str | None
    max_response: int
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    random: Callable[[], float]


class ClientSettings(TransportSettings, frozen=True, kw_only=True):
    """What a client is made of: the settings of its transport and those of its calls, normalised.

    Raises:
        ConfigurationError: A setting is missing or wrong.
    """

    application_id: str | uuid.UUID | None = None
    base_url: str = KPN_BASE_URL
    tracker: Tracker | None = None
    rules: Rules = DEFAULT_RULES
    client_ref: Callable[[], str] | None = None
    applications_path: str = "/applications"
    applications_url: str | None = None
    application_header: bool = True

    def __post_init__(self) -> None:
        # msgspec makes no cell for `super()` without arguments.
        TransportSettings.__post_init__(self)
        check_tracker(self.tracker)
        checks.instance("rules", self.rules, Rules)
        if self.client_ref is not None:
            checks.function("client_ref", self.client_ref)
        if self.application_id and not self.application_header:
            raise ConfigurationError(
                "no header would carry the application_id: Vonage knows the application from the token"
            )
        application_id = header_text("application_id", self.application_id) if self.application_id else None
        force_setattr(self, "application_id", application_id)
        for name in ("base_url", "applications_url"):
            if name == "base_url" or self.applications_url:
                url = check_url(name, getattr(self, name))
                check_plain_http(name, url)
                force_setattr(self, name, url)

    @property
    def dispatch_headers(self) -> dict[str, str]:
        """What a dispatch carries besides the headers of every request."""
        headers = {"Content-Type": "application/json"}
        if self.application_id is not None:
            headers["ApplicationId"] = str(self.application_id)
        return headers


def takes_settings(function: FunctionT) -> FunctionT:
    """Show `help()` and other tools the settings, with their defaults, in the place of `**settings`.

    Type checkers see them by `Unpack[ClientOptions]`.
    """
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    described: Any = function  # functions have no declared attribute for it
    described.__signature__ = signature.replace(parameters=[*own, *_parameters()])
    return function


def _parameters() -> list[inspect.Parameter]:
    """Return the settings that have a default as parameters, with the text of their types."""
    fields, defaults = ClientSettings.__struct_fields__, ClientSettings.__struct_defaults__
    default_of = dict(zip(reversed(fields), reversed(defaults), strict=False))
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default_of[name], annotation=kind.__forward_arg__
        )
        for name, kind in ClientOptions.__annotations__.items()
    ]
