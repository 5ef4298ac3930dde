"""The interface of an attempt to the network: write one request, read one response.

There are two implementations: `wire_fast_path` writes to connections of aiohttp's connector; `session_wire`
calls `ClientSession.request`, for the caller's own sessions, mocks, and everything else that the fast path
does not support.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

import aiohttp
from multidict import CIMultiDict

from nexmo_dispatch_async.sansio import Request, Response
from nexmo_dispatch_async.transport.progress import Progress

__all__ = ["NO_TIMEOUT", "Wire", "check_length", "merged_headers"]

# `deadlines` enforces timeouts: at a timeout aiohttp would not read a response that has already arrived.
NO_TIMEOUT = aiohttp.ClientTimeout()

# Characters that aiohttp refuses to write, so that no value can begin another header.
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Wire(Protocol):
    """Carries one request over one connection."""

    async def exchange(self, request: Request, authorization: str | None, progress: Progress) -> Response:
        """Write a request and read its response. After an exception nothing more is written.

        Args:
            request: The request, without authorization.
            authorization: The value of the header, `None` for none.
            progress: Records the progress of the request.

        Raises:
            Exception: An exception of aiohttp or the operating system; `failures` converts it.
        """
        ...


def merged_headers(
    common: Mapping[str, str], request: Request, authorization: str | None
) -> CIMultiDict[str]:
    """Return the header fields of a request; its own fields override the common ones.

    Raises:
        ValueError: A field contains a control character, which could begin another field.
    """
    headers: CIMultiDict[str] = CIMultiDict(common)
    headers.update(request.headers)
    if authorization is not None:
        headers["Authorization"] = authorization
    for name, value in headers.items():
        if _FORBIDDEN.search(name) or _FORBIDDEN.search(value):
            raise ValueError("a header holds a control character")
    return headers


def check_length(data: bytes, limit: int) -> None:
    """Refuse a response that is longer than `limit` bytes.

    Raises:
        aiohttp.ClientPayloadError: The response is longer.
    """
    if len(data) > limit:
        raise aiohttp.ClientPayloadError(f"the response is longer than {limit} bytes")
