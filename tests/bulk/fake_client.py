"""A client without a network, for virtual time: a function answers each row, and sends are counted."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nexmo_dispatch_async.sansio import Headers, Request, Response, dispatch_request

Answer = Callable[[str], "Response | BaseException | Awaitable[Response]"]

ACCEPTED: Mapping[str, str] = {}


def accepted(number: int, headers: Mapping[str, str] = ACCEPTED) -> Response:
    body = json.dumps({"dispatch_uuid": f"aaaaaaaa-bbbb-cccc-dddd-{number:012}"}).encode()
    return Response(202, Headers(headers), body)


class FakeClient:
    """Stands where a `DispatchClient` stands.

    Args:
        answer: Makes the answer to a send to an address; by default the service accepts it.
        latency: Seconds until the answer.
    """

    def __init__(
        self, answer: Answer | None = None, *, latency: float = 0.1, url: str = "http://service"
    ) -> None:
        self.answer, self.latency, self.url = answer, latency, url
        #: How often each address was sent to, and when.
        self.sends: Counter[str] = Counter()
        self.moments: list[float] = []
        self.refs: list[str] = []
        self.in_flight = self.most_in_flight = 0

    def ready_request(self, body: bytes) -> Request:
        return dispatch_request(self.url, {"ApplicationId": "app"}, body)

    async def call(
        self,
        request: Request,
        decode: Callable[[Response], Any],
        *,
        before_write: Callable[[], object] | None = None,
        **_settings: Any,
    ) -> Any:
        if before_write is not None:
            before_write()
        step = json.loads(request.body or b"{}")["workflow"][0]
        address = step["to"]["number"]
        self.sends[address] += 1
        self.refs.append(step["message"].get("client_ref", step.get("client_ref", "")))
        self.moments.append(asyncio.get_running_loop().time())
        number = len(self.moments)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency)
            answer = accepted(number) if self.answer is None else self.answer(address)
            if isinstance(answer, BaseException):
                raise answer
            return decode(answer if isinstance(answer, Response) else await answer)
        finally:
            self.in_flight -= 1
