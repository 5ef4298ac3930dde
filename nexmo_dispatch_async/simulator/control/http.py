"""What the routes of the control API share: what a route is, reading a body, answering JSON, refusing.

It knows no route; they are in `control.py` and `control_faults.py`.
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
    "read",
    "refuse",
]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_T = TypeVar("_T")


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request says; other members are a mistake."""


class Route(NamedTuple):
    """One call of the control API, as it is served and as it is described."""

    method: str
    path: str
    handler: Handler
    summary: str
    #: what the body says; None for a call that has none
    body: type | None = None
    #: the numbers that the query may hold, with their largest value
    query: tuple[tuple[str, int], ...] = ()
    #: media type of the answer, and what a JSON one says; None for an object that is not described further
    kind: str = "application/json"
    answer: type | None = None


class Nothing(Body, frozen=True, kw_only=True):
    """A request that has nothing to say."""


class Refused(web.HTTPException):
    """An error of the control API, which `Control` prints as JSON."""

    status_code: int = 400

    def __init__(self, status: int, reason: str) -> None:
        self.status_code = status
        super().__init__(text=reason)


def refuse(status: int, reason: str) -> NoReturn:
    """Answer with an error.

    Raises:
        Refused: Always.
    """
    raise Refused(status, reason)


def json_answer(value: object) -> web.Response:
    """Return an answer."""
    headers = {"Cache-Control": "no-store"}
    return web.Response(body=msgspec.json.encode(value), content_type="application/json", headers=headers)


def error(status: int, reason: str) -> web.Response:
    """Return the answer that names a mistake."""
    return web.json_response({"error": reason}, status=status)


async def read(request: web.Request, kind: type[_T]) -> _T:
    """Return the body of a request; an empty one says nothing.

    Raises:
        Refused: It is not JSON of this kind.
    """
    body = await request.read()
    try:
        return msgspec.json.decode(body.strip() or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        refuse(400, str(problem))


def number(request: web.Request, name: str, default: int, *, most: int) -> int:
    """Return a number of the query.

    Raises:
        Refused: It is none, or out of range.
    """
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= most):
        refuse(400, f"{name} is a number from 0 to {most}")
    return int(text)
