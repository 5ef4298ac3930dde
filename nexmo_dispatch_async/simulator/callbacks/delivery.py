"""Carries callbacks to their receivers over HTTP.

It knows neither schedule nor signature: a delivery goes out, an answer comes back, and it never raises for
what a receiver does.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

import aiohttp

from nexmo_dispatch_async.simulator.callbacks.bodies import Answer, Delivery

__all__ = ["CallbackClient"]

_CONNECT_S: Final = 3.0
_ANSWER_S: Final = 15.0
_ANSWER_LIMIT: Final = 4096


class CallbackClient:
    """An HTTP client for callbacks.

    Args:
        connect_timeout: Real seconds to connect (contract 5.10).
        answer_timeout: Real seconds to answer.
    """

    def __init__(self, *, connect_timeout: float = _CONNECT_S, answer_timeout: float = _ANSWER_S) -> None:
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=connect_timeout, sock_read=answer_timeout
        )
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=self._timeout,
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "dispatch-simulator"},
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def deliver(self, delivery: Delivery) -> Answer:
        """Post a callback and return the answer; no answer is an answer with a `failure`.

        Where a fault knows the answer beforehand, nothing is posted.
        """
        if delivery.verdict is not None:
            return delivery.verdict
        if self._session is None:
            return Answer(failure="closed")
        try:
            async with self._session.post(
                delivery.url, data=delivery.body, headers=delivery.headers, allow_redirects=False
            ) as response:
                body = b""
                while len(body) < _ANSWER_LIMIT and (
                    chunk := await response.content.read(_ANSWER_LIMIT - len(body))
                ):
                    body += chunk
                return Answer(response.status, body)
        except TimeoutError:
            return Answer(failure="timeout")
        except (aiohttp.ClientConnectorError, ConnectionRefusedError):
            return Answer(failure="connection refused")
        except (aiohttp.ClientError, OSError, ValueError):
            return Answer(failure="connection lost")
