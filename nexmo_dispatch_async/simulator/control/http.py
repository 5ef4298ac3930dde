"""Helpers of the control API: routes, request bodies, JSON responses, errors.

The routes are in `routes.py` and `fault_routes.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, NoReturn, TypeVar

import msgspec
from aiohttp import web

__all__ = [
    "Body",
    "Handler",
    "Nothing",
    "Refused",
    "Route",
    "error",
    "json_answer",
    "number",
    "origin",
    "read",
    "refuse",
]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_T = TypeVar("_T")


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request; unknown members are refused."""


class Route(NamedTuple):
    """One route of the control API, with its description."""

    method: str
    path: str
    handler: Handler
    summary: str
    #: schema of the body; None for no body
    body: type[msgspec.Struct] | None = None
    #: the parameters of the query: a number with its maximum, or a text with None
    query: tuple[tuple[str, int | None], ...] = ()
    #: media type of the response, and schema of a JSON response; None for a text
    kind: str = "application/json"
    answer: type | None = None


class Nothing(Body, frozen=True, kw_only=True):
    """An empty body."""


class Refused(web.HTTPException):
    """An error of the control API, which `Control` returns as JSON."""

    status_code: int = 400

    def __init__(self, status: int, reason: str) -> None:
        self.status_code = status
        super().__init__(text=reason)


def refuse(status: int, reason: str) -> NoReturn:
    """Respond with an error.

    Raises:
        Refused: Always.
    """
    raise Refused(status, reason)


def json_answer(value: object) -> web.Response:
    """Return a JSON response."""
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=msgspec.json.encode(value), content_type="application/json", headers=headers)


def error(status: int, reason: str) -> web.Response:
    """Return an error response."""
    return web.json_response({"error": reason}, status=status)


async def read(request: web.Request, kind: type[_T]) -> _T:
    """Return the parsed body of a request; an empty body counts as `{}`.

    Raises:
        Refused: The body is not JSON with this schema.
    """
    body = await request.read()
    try:
        return msgspec.json.decode(body.strip() or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        refuse(400, str(problem))


def number(request: web.Request, name: str, default: int, *, most: int) -> int:
    """Return a number of the query.

    Raises:
        Refused: The value is not a number, or is out of range.
    """
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= most):
        refuse(400, f"{name} must be a number from 0 to {most}")
    return int(text)


def origin(request: web.Request) -> str:
    """Return scheme, host and port by which the caller reaches the simulator; `Host` was checked before."""
    return f"http://{request.host}"
