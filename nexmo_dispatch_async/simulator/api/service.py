"""The service without I/O: the parts of a request in, a response out (contract 1-4).

The HTTP server around it is in `server.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final, NamedTuple, cast
from urllib.parse import parse_qsl

import msgspec

from nexmo_dispatch_async.simulator.api import applications_v2
from nexmo_dispatch_async.simulator.api.answers import (
    Reply,
    error_in_form,
    gateway_fault,
    kpn_error,
    problem,
    violations,
)
from nexmo_dispatch_async.simulator.api.gateway import FORM, TOKEN_PATH, Gateway, content_type, form_fields
from nexmo_dispatch_async.simulator.api.validation import parse_dispatch
from nexmo_dispatch_async.simulator.engine import Engine
from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication, SimulatedApplications
from nexmo_dispatch_async.simulator.world.faults import Fault, Faults
from nexmo_dispatch_async.simulator.world.history import History, RequestSeen
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_async.simulator.world.settings import Settings
from nexmo_dispatch_async.simulator.world.tokens import Account, Tokens
from nexmo_dispatch_async.simulator.world.violations import InvalidBody, Violation

__all__ = ["BASE_PATH", "DISPATCH_PATH", "TOKEN_PATH", "Service"]

BASE_PATH: Final = "/communication/nexmo"
DISPATCH_PATH: Final = BASE_PATH + "/dispatch"
_APPLICATIONS: Final = BASE_PATH + "/applications"
_APPLICATIONS_V2: Final = _APPLICATIONS + "/v2"

_encode = msgspec.json.Encoder().encode


class _Route(NamedTuple):
    """The route of a path: its name in `counts`, its methods, the id of an application."""

    name: str
    methods: frozenset[str] = frozenset()
    uuid: str = ""
    v2: bool = False


_DISPATCH: Final = _Route("/dispatch", frozenset({"POST"}))
_TOKEN: Final = _Route(TOKEN_PATH, frozenset({"POST"}))
_UNKNOWN: Final = _Route("unknown")


def _route(path: str) -> _Route:
    path = path.removesuffix("/")
    if path == DISPATCH_PATH:
        return _DISPATCH
    if path == TOKEN_PATH:
        return _TOKEN
    v2 = (path + "/").startswith(_APPLICATIONS_V2 + "/")
    root = _APPLICATIONS_V2 if v2 else _APPLICATIONS
    name = root.removeprefix(BASE_PATH)
    if path == root:
        return _Route(name, frozenset({"GET", "POST"}), v2=v2)
    uuid = path.removeprefix(root + "/") if path.startswith(root + "/") else ""
    if not uuid or "/" in uuid:
        return _UNKNOWN
    methods = {"GET", "DELETE"} if v2 else {"GET", "PUT", "DELETE"}
    return _Route(name + "/{id}", frozenset(methods), uuid, v2)


class Service:
    """Handles requests: checks of the gateway (token, quota) first, then the service (contract 2, 3, 4)."""

    def __init__(
        self,
        *,
        engine: Engine,
        account: Account,
        tokens: Tokens,
        random: SeededRandom,
        epoch: datetime,
        faults: Faults | None = None,
        wire_epoch: datetime | None = None,
        wire_ms: Callable[[], int] | None = None,
    ) -> None:
        self.engine = engine
        self.faults: Faults = Faults(random) if faults is None else faults
        self.gateway: Gateway = Gateway(
            settings=engine.settings,
            account=account,
            tokens=tokens,
            epoch=epoch,
            now_ms=lambda: engine.now_ms,
            wire_epoch=wire_epoch,
            wire_ms=wire_ms,
            trace=self._trace,
        )
        #: number of requests by method and route, refused ones included
        self.counts: Counter[str] = Counter()
        self._random = random
        self._errors = 0

    @property
    def settings(self) -> Settings:
        """The switches."""
        return self.engine.settings

    @property
    def applications(self) -> SimulatedApplications:
        """The applications of the account."""
        return self.engine.applications

    @property
    def history(self) -> History:
        """The records."""
        return self.engine.history

    def handle(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Handle a request and return its response.

        Args:
            method: The method in upper case.
            path: The path without the query.
            query: The raw query string.
            headers: A mapping with case-insensitive names.
            body: The raw body.
        """
        route = _DISPATCH if path == DISPATCH_PATH else _route(path)
        name = "unknown" if route is _UNKNOWN else f"{method} {route.name}"
        self.counts[name] += 1
        if not self.faults.on_requests:
            reply = self._answer(route, method, path, query, headers, body)
            self._record(route, method, path, query, reply, body)
            return reply
        hits = self.faults.on_request(name, lambda: _recipients(body))
        reply, latency = Reply(0, cut="reset"), 0.0
        hit: Fault | None = None
        for fault in hits:
            if fault.kind == "latency":
                latency += fault.seconds
            else:
                hit = fault
        refused = None if hit is None else self._refusal(hit)
        if refused is not None:
            reply = refused
        elif hit is None or (hit.kind, hit.when) != ("reset", "before"):
            reply = self._answer(route, method, path, query, headers, body)
        self._record(route, method, path, query, reply, body, "+".join(fault.kind for fault in hits))
        if hit is not None:
            reply = self._with_fault(hit, reply)
        return reply._replace(latency=latency)

    def turned_away(self, reason: str) -> Reply:
        """Return the refusal of a request that another web site may have made; it is not counted."""
        return kpn_error(403, reason, self._trace())

    def _refusal(self, fault: Fault) -> Reply | None:
        """Return the response of a fault in place of the service, None if the service handles the request."""
        match fault.kind:
            case "expire_tokens":
                self.gateway.tokens.expire()
                return None
            case "quota":
                status = self.settings.quota_fault if fault.status is None else fault.status
                return self.gateway.over_quota(status, fault.retry_after)
            case "error" if fault.when == "before":
                return self._error(fault)
            case _:
                return None

    def _error(self, fault: Fault) -> Reply:
        return error_in_form(fault.form, fault.status or 503, self._trace(), fault.retry_after)

    def _with_fault(self, fault: Fault, reply: Reply) -> Reply:
        """Return a response as a fault changes it."""
        match fault.kind:
            case "reset":
                return reply._replace(cut="reset")
            case "half_response":
                return reply._replace(cut="half")
            case "error" if fault.when == "after":
                return self._error(fault)
            case _:
                return reply

    def _record(
        self, route: _Route, method: str, path: str, query: str, reply: Reply, body: bytes, fault: str = ""
    ) -> None:
        text, answer = body.decode(errors="replace"), reply.body.decode()
        if route is _TOKEN and method == "POST":
            # credentials and tokens must not enter the transcript
            query = text = answer = ""
        self.history.add(
            RequestSeen(
                at_ms=self.engine.now_ms,
                method=method,
                path=f"{path}?{query}" if query else path,
                status=reply.status,
                body=text,
                answer=answer,
                fault=fault,
            )
        )

    def _trace(self) -> str:
        self._errors += 1
        return self._random.uuid(f"trace/{self._errors}")

    def _answer(
        self, route: _Route, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        if method not in route.methods:
            return self._misdirected(route, method, path)
        if route is _TOKEN:
            return self.gateway.token(query, headers, body)
        refused = self.gateway.guard(headers)
        if refused is not None:
            return refused
        if route is _DISPATCH:
            reply = self._dispatch(headers, body)
        else:
            reply = self._applications(route, method, query, headers, body)
        version = headers.get("api-version") or ("v2" if route.v2 else "v1")
        return self.gateway.with_headers(reply, version.strip()[:20] if version.isascii() else "v1")

    def _misdirected(self, route: _Route, method: str, path: str) -> Reply:
        if route is _UNKNOWN:
            text = f"Unable to identify proxy for host: secure and url: {path}"
            code = "messaging.adaptors.http.flow.ApplicationNotFound"
            return gateway_fault(self.settings.fault_form, 404, text, code, self._trace())
        allowed = ", ".join(sorted(route.methods))
        detail = f"{method} is not allowed here; use {allowed}"
        reply = problem(405, "wrong-verb", "Method Not Allowed", detail, self._trace())
        return reply._replace(headers={**reply.headers, "Allow": allowed})

    # ---- POST /dispatch

    def _dispatch(self, headers: Mapping[str, str], body: bytes) -> Reply:
        application_id = headers.get("ApplicationId", "").strip()
        if not application_id:
            return kpn_error(400, "Required header ApplicationId is missing", self._trace())
        application = self.applications.get(application_id)
        if application is None:
            return kpn_error(404, "Application not found", self._trace())
        if application.type != "messages" and not self.settings.accept_voice_application:
            return kpn_error(403, "The application has no capability messages", self._trace())
        if not _is_json(content_type(headers)):
            return self._unsupported("application/json")
        try:
            steps = parse_dispatch(body, self.settings)
        except InvalidBody as error:
            return self._invalid(error.violations)
        run = self.engine.accept(application, steps)
        return Reply(202, b'{"dispatch_uuid":"%s"}' % run.dispatch_uuid.encode())

    def _invalid(self, found: list[Violation], fragment: str = "InvalidParams") -> Reply:
        instance = self._trace().replace("-", "")
        return violations(found, instance, form=self.settings.invalid_parameters, fragment=fragment)

    def _unsupported(self, media_type: str) -> Reply:
        title, detail = "Unsupported Content-Type header", f"Send the body as {media_type}"
        return problem(415, "content-type-header", title, detail, self._trace())

    # ---- applications

    def _applications(
        self, route: _Route, method: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        try:
            if not route.uuid:
                if method == "GET":
                    return self._list(query, route.v2)
                return self._create(query, headers, body, route.v2)
            application = self.applications.get(route.uuid)
            if application is None:
                return kpn_error(404, "Resource not found", self._trace())
            return self._one(application, method, query, headers, body, route.v2)
        except InvalidBody as error:
            return self._invalid(
                error.violations, "list-validation" if method == "GET" else "payload-validation"
            )

    def _list(self, query: str, v2: bool) -> Reply:
        if self.settings.sandbox:
            return kpn_error(403, "This endpoint is not available for sandbox accounts", self._trace())
        fields = dict(parse_qsl(query, keep_blank_values=True))
        if v2:
            newer = applications_v2.page(self.applications, fields.get("page"), fields.get("page_size"))
            return Reply(200, _encode(newer))
        page = self.applications.page(fields.get("page_index"), fields.get("page_size"))
        return Reply(200, _encode(page))

    def _create(self, query: str, headers: Mapping[str, str], body: bytes, v2: bool) -> Reply:
        fields = _fields(query, headers, body)
        application = self.applications.create({"type": "messages", **fields} if v2 else fields)
        private_key = f"SIMULATED PRIVATE KEY {self._random.hex('private/' + application.id)}"
        return self._shown(201, application, v2, private_key)

    def _one(
        self,
        application: SimulatedApplication,
        method: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        v2: bool,
    ) -> Reply:
        if method == "DELETE":
            self.applications.delete(application)
            return Reply(204)
        if method == "PUT":
            fields, partial = _fields(query, headers, body), self.settings.accept_partial_update
            self.applications.update(application, fields, partial=partial)
        return self._shown(200, application, v2)

    def _shown(
        self, status: int, application: SimulatedApplication, v2: bool, private_key: str | None = None
    ) -> Reply:
        if v2:
            newer = applications_v2.body(application, private_key=private_key)
            return Reply(status, _encode(newer))
        return Reply(status, _encode(application.body(private_key=private_key)))


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


def _recipients(body: bytes) -> Iterator[str]:
    """Yield the recipients of a request; nothing for a malformed body."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return
    if not isinstance(document, dict):
        return
    root = cast("dict[str, object]", document)
    steps = root.get("workflow", [root])
    for step in cast("list[object]", steps) if isinstance(steps, list) else []:
        to = cast("dict[str, object]", step).get("to") if isinstance(step, dict) else None
        for key in ("number", "id") if isinstance(to, dict) else ():
            value = cast("dict[str, object]", to).get(key)
            if isinstance(value, str | int):
                yield str(value)


def _fields(query: str, headers: Mapping[str, str], body: bytes) -> dict[str, object]:
    """Return the fields of an application from query, form or JSON body (contract 4.3, 9.8)."""
    fields: dict[str, object] = dict(parse_qsl(query))
    if not body:
        return fields
    if content_type(headers) == FORM:
        return {**fields, **form_fields(body)}
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise InvalidBody([]) from None
    if not isinstance(document, dict):
        raise InvalidBody([])
    return {**fields, **applications_v2.flat(cast("dict[str, object]", document))}
