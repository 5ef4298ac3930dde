"""The HTTP face of the service without HTTP: a request's parts in, an answer out (contract 1-4).

It opens no sockets and starts no callbacks; the aiohttp server around it is in `server.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, cast
from urllib.parse import parse_qsl

import msgspec

from nexmo_dispatch_async.simulator import applications_v2
from nexmo_dispatch_async.simulator.answers import (
    Reply,
    apigee_fault,
    credential_error,
    kpn_error,
    problem,
    violations,
)
from nexmo_dispatch_async.simulator.applications import Application, Applications
from nexmo_dispatch_async.simulator.dice import Dice
from nexmo_dispatch_async.simulator.engine import Engine
from nexmo_dispatch_async.simulator.records import History, RequestSeen
from nexmo_dispatch_async.simulator.settings import Settings
from nexmo_dispatch_async.simulator.tokens import Account, Tokens
from nexmo_dispatch_async.simulator.validation import InvalidBody, Violation, parse_dispatch

__all__ = ["BASE_PATH", "DISPATCH_PATH", "TOKEN_PATH", "Gateway"]

BASE_PATH: Final = "/communication/nexmo"
TOKEN_PATH: Final = "/oauth/client_credential/accesstoken"  # noqa: S105 - a path, not a secret

DISPATCH_PATH: Final = BASE_PATH + "/dispatch"
_APPLICATIONS: Final = BASE_PATH + "/applications"
_APPLICATIONS_V2: Final = _APPLICATIONS + "/v2"
_DAY_MS: Final = 24 * 3600 * 1000
_FORM: Final = "application/x-www-form-urlencoded"

_encode = msgspec.json.Encoder().encode


class Gateway:
    """Answers requests: gateway checks first (token, quota), then the service (contract 2, 3, 4)."""

    def __init__(
        self,
        *,
        engine: Engine,
        account: Account,
        tokens: Tokens,
        dice: Dice,
        epoch: datetime,
    ) -> None:
        self.engine = engine
        self.account = account
        self.tokens = tokens
        #: how many requests arrived, by method and route, whatever became of them
        self.counts: Counter[str] = Counter()
        self._dice = dice
        self._epoch = epoch
        self._errors = 0
        self._quota_day = 0
        self._quota_used = 0
        self._quota_reset = self._reset_after(0)

    @property
    def settings(self) -> Settings:
        """The switches."""
        return self.engine.settings

    @property
    def applications(self) -> Applications:
        """The applications of the account."""
        return self.engine.applications

    @property
    def history(self) -> History:
        """Where requests are taken down."""
        return self.engine.history

    def handle(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer one request.

        Args:
            method: In upper case.
            path: Without the query.
            query: The raw query string.
            headers: A mapping that ignores the case of names.
            body: The raw body.
        """
        if path == DISPATCH_PATH and method == "POST":  # the hot path
            self.counts["POST /dispatch"] += 1
            reply = self._guarded(headers) or self._dispatch(headers, body)
            self._take_down(method, path, reply, body)
            return reply
        if path == TOKEN_PATH and method == "POST":
            self.counts["POST " + TOKEN_PATH] += 1
            reply = self._token(query, headers, body)
            # neither the credentials nor the token enter the transcript
            self.history.add(
                RequestSeen(at_ms=self.engine.now_ms, method=method, path=path, status=reply.status)
            )
            return reply
        reply = self._other(method, path, query, headers, body)
        self._take_down(method, path + ("?" + query if query else ""), reply, body)
        return reply

    def _take_down(self, method: str, path: str, reply: Reply, body: bytes) -> None:
        self.history.add(
            RequestSeen(
                at_ms=self.engine.now_ms,
                method=method,
                path=path,
                status=reply.status,
                body=body.decode(errors="replace"),
                answer=reply.body.decode(),
            )
        )

    def _trace(self) -> str:
        self._errors += 1
        return self._dice.uuid(f"trace/{self._errors}")

    # ---- the gateway

    def _token(self, query: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if ("grant_type", "client_credentials") not in parse_qsl(query):
            return apigee_fault(400, "Required param : grant_type", "steps.oauth.v2.InvalidRequest")
        form = _form(body) if _content_type(headers) == _FORM else {}
        if not self.account.accepts(form.get("client_id", ""), form.get("client_secret", "")):
            return credential_error(self.settings.credential_error, self._trace())
        lifetime = self.settings.token_lifetime
        issued_at = int(self._epoch.timestamp() * 1000) + self.engine.now_ms
        answer = {
            "refresh_token_expires_in": "0",
            "api_product_list": "[Dispatch-Vonage, Messages-Vonage]",
            "organization_name": "kpn",
            "developer_email": "dev@example.com",
            "token_type": "Bearer",
            "issued_at": str(issued_at),
            "client_id": self.account.client_id,
            "access_token": self.tokens.issue(self.engine.now_ms, lifetime),
            "application_name": "dispatch-simulator",
            "level": "demo",
            "scope": "",
            "expires_in": str(lifetime),
            "refresh_token": "",
            "refresh_count": "0",
            "status": "approved",
        }
        return Reply(200, _encode(answer))

    def _guarded(self, headers: Mapping[str, str]) -> Reply | None:
        """Check the token, then count the call against the quota; None lets it through."""
        state = self.tokens.state(headers.get("Authorization"), self.engine.now_ms)
        if state != "valid":
            status = self.settings.token_fault
            if state == "expired":
                return apigee_fault(
                    status, "Access Token expired", "keymanagement.service.access_token_expired"
                )
            return apigee_fault(status, "Invalid Access Token", "keymanagement.service.invalid_access_token")
        day = self.engine.now_ms // _DAY_MS
        if day != self._quota_day:
            self._quota_day, self._quota_used, self._quota_reset = day, 0, self._reset_after(day)
        self._quota_used += 1
        if self._quota_used > self.settings.quota_limit:
            text = (
                f"Rate limit quota violation. Quota limit  exceeded. Identifier : {self.account.api_key}-demo"
            )
            code = "policies.ratelimit.QuotaViolation"
            return apigee_fault(self.settings.quota_fault, text, code, self._quota_headers())
        return None

    def _reset_after(self, day: int) -> str:
        return f"{self._epoch + timedelta(days=day + 1):%Y-%m-%d %H:%M:%S}"

    def _quota_headers(self) -> dict[str, str]:
        """Return what KPN says about the quota with every answer (contract 1.4)."""
        return {
            "quota-limit": str(self.settings.quota_limit),
            "quota-interval": "1",
            "quota-time-unit": "day",
            "quota-used": str(self._quota_used),
            "quota-reset-UTC": self._quota_reset,
        }

    def _served(self, status: int, body: bytes, version: str = "v1") -> Reply:
        """Return an answer of the service with the gateway's headers."""
        headers = {
            "Content-Type": "application/json",
            **self._quota_headers(),
            "sunset": "n/a",
            "api-version": version,
        }
        return Reply(status, body, headers)

    # ---- POST /dispatch

    def _dispatch(self, headers: Mapping[str, str], body: bytes) -> Reply:
        application_id = headers.get("ApplicationId", "").strip()
        if not application_id:
            return kpn_error(400, "Required header ApplicationId is missing", self._trace())
        application = self.applications.get(application_id)
        if application is None:
            return kpn_error(404, "Application not found", self._trace())
        if not _is_json(_content_type(headers)):
            return self._unsupported("application/json")
        try:
            steps = parse_dispatch(body, accept_bare_step=self.settings.accept_bare_step)
        except InvalidBody as error:
            return self._invalid(error.violations)
        run = self.engine.accept(application, steps)
        return self._served(202, b'{"dispatch_uuid":"%s"}' % run.dispatch_uuid.encode())

    def _invalid(self, found: list[Violation], fragment: str = "InvalidParams") -> Reply:
        instance = self._trace().replace("-", "")
        return violations(found, instance, form=self.settings.invalid_parameters, fragment=fragment)

    def _unsupported(self, wanted: str) -> Reply:
        title, detail = "Unsupported Content-Type header", f"Send the body as {wanted}"
        return problem(415, "content-type-header", title, detail, self._trace())

    # ---- applications and what does not exist

    def _other(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Reply:
        route = path.removesuffix("/") if path != "/" else path
        root = _APPLICATIONS_V2 if (route + "/").startswith(_APPLICATIONS_V2 + "/") else _APPLICATIONS
        v2 = root == _APPLICATIONS_V2
        uuid = route.removeprefix(root + "/") if route.startswith(root + "/") else ""
        known = (
            {"GET", "POST"}
            if route == root
            else {"GET", "DELETE"} | (set[str]() if v2 else {"PUT"})
            if uuid and "/" not in uuid
            else {"POST"}
            if route in (DISPATCH_PATH, TOKEN_PATH)
            else set[str]()
        )
        if not known:
            self.counts["unknown"] += 1
            text = f"Unable to identify proxy for host: secure and url: {path}"
            return apigee_fault(404, text, "messaging.adaptors.http.flow.ApplicationNotFound")
        name = root.removeprefix(BASE_PATH) + "/{id}" if uuid else route.removeprefix(BASE_PATH)
        self.counts[f"{method} {name}"] += 1
        if method not in known:
            detail = f"{method} is not possible here; use {', '.join(sorted(known))}"
            return problem(405, "wrong-verb", "Method Not Allowed", detail, self._trace())
        refused = self._guarded(headers)
        if refused is not None:
            return refused
        try:
            if not uuid:
                return self._list(query, v2) if method == "GET" else self._create(query, headers, body, v2)
            application = self.applications.get(uuid)
            if application is None:
                return kpn_error(404, "Resource not found", self._trace())
            return self._one(application, method, query, headers, body, v2)
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
            return self._served(200, _encode(newer), "v2")
        page = self.applications.page(fields.get("page_index"), fields.get("page_size"))
        return self._served(200, _encode(page))

    def _create(self, query: str, headers: Mapping[str, str], body: bytes, v2: bool) -> Reply:
        fields = _fields(query, headers, body)
        application = self.applications.create({"type": "messages", **fields} if v2 else fields)
        private_key = f"SIMULATED PRIVATE KEY {self._dice.hex('private/' + application.id)}"
        return self._shown(201, application, v2, private_key)

    def _one(
        self,
        application: Application,
        method: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        v2: bool,
    ) -> Reply:
        if method == "DELETE":
            self.applications.delete(application)
            return self._served(204, b"", "v2" if v2 else "v1")
        if method == "PUT":
            self.applications.update(application, _fields(query, headers, body))
        return self._shown(200, application, v2)

    def _shown(
        self, status: int, application: Application, v2: bool, private_key: str | None = None
    ) -> Reply:
        if v2:
            newer = applications_v2.body(application, private_key=private_key)
            return self._served(status, _encode(newer), "v2")
        return self._served(status, _encode(application.body(private_key=private_key)))


def _content_type(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _is_json(content_type: str) -> bool:
    return content_type == "application/json" or content_type.endswith("+json")


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    except (UnicodeDecodeError, ValueError):
        return {}


def _fields(query: str, headers: Mapping[str, str], body: bytes) -> dict[str, object]:
    """Read the fields of an application from query, form or JSON, whichever was used (contract 4.3, 9.8)."""
    fields: dict[str, object] = dict(parse_qsl(query))
    if not body:
        return fields
    if _content_type(headers) == _FORM:
        return {**fields, **_form(body)}
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise InvalidBody([]) from None
    if not isinstance(document, dict):
        raise InvalidBody([])
    return {**fields, **applications_v2.flat(cast("dict[str, object]", document))}
