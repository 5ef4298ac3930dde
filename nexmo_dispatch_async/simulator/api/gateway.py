"""The gateway in front of the service: the token endpoint, the token check, the quota (contract 1.4, 2).

It opens no sockets and knows no route but that of tokens; the service behind it is in `service.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from nexmo_dispatch_async.simulator.api.answers import Reply, credential_error, gateway_fault, kpn_error
from nexmo_dispatch_async.simulator.world.settings import Settings
from nexmo_dispatch_async.simulator.world.tokens import Account, Tokens

__all__ = ["FORM", "TOKEN_PATH", "Gateway", "content_type", "form_fields"]

TOKEN_PATH: Final = "/oauth/client_credential/accesstoken"  # noqa: S105 - a path, not a secret
FORM: Final = "application/x-www-form-urlencoded"

_DAY_MS: Final = 24 * 3600 * 1000
_PRODUCTS: Final = ["Dispatch-Vonage", "Messages-Vonage"]

_encode = msgspec.json.Encoder().encode


class Gateway:
    """The checks of a request before it reaches the service.

    Args:
        settings: The switches.
        account: The account whose credentials are accepted.
        tokens: The access tokens.
        epoch: The moment of virtual time 0.
        now_ms: Returns the virtual time in milliseconds.
        wire_epoch: The moment of time 0 on the clock of the wire; None for `epoch`.
        wire_ms: Returns the time on the clock of the wire in milliseconds; None for `now_ms`. All times in a
            response, and the lives of tokens, are of this clock: clients count one from the other.
        trace: Returns a new error id.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        account: Account,
        tokens: Tokens,
        epoch: datetime,
        now_ms: Callable[[], int],
        wire_epoch: datetime | None = None,
        wire_ms: Callable[[], int] | None = None,
        trace: Callable[[], str],
    ) -> None:
        self.tokens = tokens
        self._settings = settings
        self._account = account
        self._now_ms = now_ms
        self._wire_epoch_ms = int((wire_epoch or epoch).timestamp() * 1000)
        self._wire_ms = wire_ms or now_ms
        self._trace = trace
        self._quota_day = 0
        self._quota_used = 0

    def date(self) -> str:
        """Return the `Date` of a response that leaves now."""
        return _http_date((self._wire_epoch_ms + self._wire_ms()) // 1000)

    def token(self, query: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer a request for an access token (contract 2.1, 2.2)."""
        settings = self._settings
        if ("grant_type", "client_credentials") not in parse_qsl(query):
            text, code = "Required param : grant_type", "steps.oauth.v2.InvalidRequest"
            return gateway_fault(settings.fault_form, 400, text, code, self._trace())
        form = form_fields(body) if content_type(headers) == FORM else {}
        if not self._account.accepts(form.get("client_id", ""), form.get("client_secret", "")):
            return credential_error(settings.credential_error, self._trace())
        lifetime, now = settings.token_lifetime, self._wire_ms()
        answer: dict[str, object] = {
            "refresh_token_expires_in": "0",
            "api_product_list": f"[{', '.join(_PRODUCTS)}]",
            "organization_name": "kpn",
            "developer_email": "dev@example.com",
            "token_type": settings.token_type,
            "issued_at": str(self._wire_epoch_ms + now),
            "client_id": self._account.client_id,
            "access_token": self.tokens.issue(now, lifetime),
            "application_name": "dispatch-simulator",
            "level": "demo",
            "scope": "",
            "expires_in": str(lifetime),
            "refresh_token": "",
            "refresh_count": "0",
            "status": "approved",
        }
        if settings.oauth_fields == "older":
            answer["developer.email"] = answer.pop("developer_email")
            answer["api_product_list_json"] = _PRODUCTS
            for name in ("level", "refresh_token"):
                del answer[name]
        elif settings.oauth_fields == "typed":
            for name in ("expires_in", "issued_at", "refresh_token_expires_in", "refresh_count"):
                answer[name] = int(str(answer[name]))
        return Reply(200, _encode(answer))

    def guard(self, headers: Mapping[str, str]) -> Reply | None:
        """Return the refusal of a call for its token or the quota, None to accept the call (contract 2.3)."""
        settings = self._settings
        state = self.tokens.state(headers.get("Authorization"), self._wire_ms())
        if state != "valid":
            status, text, code = settings.token_fault, "Invalid Access Token", "invalid_access_token"
            if state == "expired":
                text, code = "Access Token expired", "access_token_expired"
            code = "keymanagement.service." + code
            return gateway_fault(settings.fault_form, status, text, code, self._trace())
        if settings.not_entitled is not None:
            return self._not_entitled(settings.not_entitled)
        day = self._now_ms() // _DAY_MS
        if day != self._quota_day:
            self._quota_day, self._quota_used = day, 0
        self._quota_used += 1
        if self._quota_used > settings.quota_limit:
            return self.over_quota(settings.quota_fault)
        return None

    def _not_entitled(self, status: int) -> Reply:
        """Return the refusal of a product that the project has no access to (contract 1.5)."""
        if status == 403:
            return kpn_error(403, "The project has no access to this product", self._trace())
        text = "Invalid API call as no apiproduct match found"
        code = "keymanagement.service.InvalidAPICallAsNoApiProductMatchFound"
        return gateway_fault(self._settings.fault_form, status, text, code, self._trace())

    def over_quota(self, status: int, retry_after: int | None = None) -> Reply:
        """Return the refusal of a call over the quota (contract 3.8: two spaces before "exceeded")."""
        name = f"{self._account.api_key}-demo"
        text = f"Rate limit quota violation. Quota limit  exceeded. Identifier : {name}"
        headers = self.quota_headers()
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        code = "policies.ratelimit.QuotaViolation"
        return gateway_fault(self._settings.fault_form, status, text, code, self._trace(), headers)

    def quota_headers(self) -> dict[str, str]:
        """Return the quota headers of every response (contract 1.4)."""
        remaining_ms = _DAY_MS - self._now_ms() % _DAY_MS
        reset_ms = self._wire_epoch_ms + self._wire_ms() + remaining_ms
        return {
            "quota-limit": str(self._settings.quota_limit),
            "quota-interval": "1",
            "quota-time-unit": "day",
            "quota-used": str(self._quota_used),
            "quota-reset-UTC": _reset_time(reset_ms // 1000),
        }

    def with_headers(self, reply: Reply, version: str) -> Reply:
        """Return a response of the service with the headers of the gateway."""
        headers = {
            **reply.headers,
            **self.quota_headers(),
            "sunset": self._settings.sunset,
            "api-version": version,
        }
        return Reply(reply.status, reply.body, headers)


# Responses of one second have one date, and those of one day one reset.
@lru_cache(maxsize=64)
def _http_date(epoch_s: int) -> str:
    return formatdate(epoch_s, usegmt=True)


@lru_cache(maxsize=64)
def _reset_time(epoch_s: int) -> str:
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%d %H:%M:%S}"


def content_type(headers: Mapping[str, str]) -> str:
    """Return the media type of a body without parameters, in lower case."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def form_fields(body: bytes) -> dict[str, str]:
    """Return the fields of a form; empty if the body is not a form."""
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    except (UnicodeDecodeError, ValueError):
        return {}
