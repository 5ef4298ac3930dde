"""The HTTP client that delivers callbacks to receivers.

It neither schedules nor signs them, and it raises no exception for the failures of a receiver.
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
        connect_timeout: Timeout of the connection in real seconds (contract 5.10).
        answer_timeout: Timeout of the response in real seconds.
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
        """Post a callback and return the response, with a `failure` if there was none.

        Nothing is posted if a fault dictates the response.
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
