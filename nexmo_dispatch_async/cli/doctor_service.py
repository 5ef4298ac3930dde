"""The network part of `nexmo-dispatch doctor`: the service, the application, and test callbacks.

What the results mean is for `doctor_verdicts` to say.
"""

from __future__ import annotations

import json
import time
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from nexmo_dispatch_async.cli.doctor_settings import SECRETS, Settings
from nexmo_dispatch_async.cli.doctor_verdicts import (
    ANSWER_S,
    CONNECT_S,
    OF_COMMANDS,
    application_findings,
    callback_findings,
    clock_finding,
    reach_finding,
    refusal_finding,
    unsigned_finding,
)
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import APIError, NotFoundError, PermissionDeniedError
from nexmo_dispatch_async.models.responses import Application
from nexmo_dispatch_async.quota import epoch_seconds
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.transport.proxies import proxy_name
from nexmo_dispatch_async.urls import PlainHTTPWarning
from nexmo_dispatch_core.findings import Finding, good, skipped
from nexmo_dispatch_webhooks.doctor_probe import probe_headers
from nexmo_dispatch_webhooks.signature import sign
from nexmo_dispatch_webhooks.testing import status_body

__all__ = ["examine_callbacks", "examine_hosts", "read_application"]

_TIMEOUT = aiohttp.ClientTimeout(total=20.0, sock_connect=10.0)
_FAILURES = (aiohttp.ClientError, OSError, ValueError)


async def examine_hosts(settings: Settings, *, clock: Callable[[], float] = time.time) -> list[Finding]:
    """Reach the service and its token endpoint without credentials: DNS, TCP, proxy, TLS, and the clock.

    Args:
        settings: The URLs and the proxies.
        clock: Gives epoch seconds.
    """
    findings: list[Finding] = []
    skew: float | None = None
    urls = {"token endpoint": settings.token_url, "service": settings.base_url}
    origins = dict.fromkeys(str(URL(url).origin()) for url in urls.values() if url)
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        for origin in origins:
            url = URL(origin)
            proxy = settings.proxies.of(url)
            begun = clock()
            try:
                async with session.get(url, proxy=proxy, allow_redirects=False) as response:
                    skew = _skew(response.headers, begun, clock()) if skew is None else skew
            except _FAILURES as error:
                findings.append(reach_finding(error, _named(origin), proxy=proxy))
                continue
            way = "" if proxy is None else f" by way of the proxy {proxy_name(proxy)}{OF_COMMANDS}"
            secure = " over TLS" if url.scheme == "https" else ""
            findings.append(good("connection", f"{_named(origin)} answers{secure}{way}"))
    findings += [
        skipped("connection", f"the {what} was not reached: the settings do not tell its URL")
        for what, url in urls.items()
        if not url
    ]
    if skew is None:
        return [*findings, skipped("clock", "the clock was not compared: no response told the time")]
    return [*findings, clock_finding(skew)]


def _skew(headers: Mapping[str, str], begun: float, ended: float) -> float | None:
    """Return the seconds by which this clock is ahead; None if the response does not tell.

    Args:
        headers: Those of the response.
        begun: Epoch seconds before the request: a `Date` between the two moments is no difference.
        ended: Epoch seconds after it.
    """
    if "Age" in headers:  # a cache has kept it, with its old date
        return None
    date = epoch_seconds(headers.get("Date", ""))
    return None if date is None else max(begun - date, 0.0) + min(ended - date, 0.0)


async def read_application(
    settings: Settings, environ: Mapping[str, str]
) -> tuple[Application | None, list[Finding]]:
    """Fetch a token and read the application, or a page of applications if none is named.

    Args:
        settings: What the environment says.
        environ: The environment, for the client.
    """
    wanted = settings.application_id
    # with the warnings of a client: the settings have said the same
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PlainHTTPWarning)
        client = DispatchClient.from_env(
            environ,
            application_id=None,
            trust_env=True,
            retry=RetryPolicy(attempts=1),
            timeout=Timeout(connect=10, total=20),
        )
    async with client:
        try:
            if wanted:
                application = await client.applications.get(wanted)
            else:
                await client.applications.list(page_size=1)
                return None, [good("credentials", "the service accepts the credentials"), _UNNAMED]
        except PermissionDeniedError as error:
            if wanted:
                return None, [refusal_finding(error, wanted), _UNREAD]
            # contract 1.5: a sandbox account may not list
            return None, [
                good("credentials", "the service issues tokens; this account may not list"),
                _UNNAMED,
            ]
        except NotFoundError as error:
            if error.phase != "token" and wanted and await _has_path(client):
                return None, [refusal_finding(error, wanted)]
            return None, [refusal_finding(error, ""), _UNREAD]
        except APIError as error:
            return None, [refusal_finding(error, wanted), _UNREAD]
    accepted = good("credentials", "the service accepts the credentials")
    host = urlsplit(settings.base_url).hostname or ""
    return application, [accepted, *application_findings(application, host)]


_UNNAMED = skipped("application", "no application was read: the settings name none")
_UNREAD = skipped("application", "the application was not read: see the failure above")


async def _has_path(client: DispatchClient) -> bool:
    """Return whether the base URL leads to the service: an application may be unknown, never the list."""
    try:
        await client.applications.list(page_size=1)
    except NotFoundError:
        return False
    except APIError:  # contract 1.5: a sandbox account may not list
        return True
    return True


async def examine_callbacks(
    application: Application, settings: Settings, *, clock: Callable[[], float] = time.time
) -> list[Finding]:
    """Post a signed test callback to each URL of an application, and one without a signature.

    The callback is a `submitted` of a message that does not exist, without a workflow, so a handler that does
    not know the message has nothing to do. Without a secret only the unsigned one is posted. The unsigned one
    carries a proof that this process knows the secret, so that the receiver neither counts nor logs it.

    Args:
        application: Its status URL and its inbound URL.
        settings: The signature secrets, of which the first one signs, and the proxies.
        clock: Gives epoch seconds.
    """
    findings: list[Finding] = []
    timeout = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for url, what in _urls(application).items():
            poster = _Poster(session, url, settings.proxies.of_text(url), clock)
            where = f"the {what} URL at {_named(url)}"
            options = " ".join(f"--{each}-url {urlsplit(url).scheme}://…" for each in what.split(" and "))
            update = f"nexmo-dispatch apps update {application.id} {options}"
            try:
                if settings.secrets:
                    answer = await poster.post(settings.secrets)
                    found = callback_findings(where, *answer, update=update)
                    findings += found
                    if any(finding.level == "bad" for finding in found):
                        text = f"{where} was sent no unsigned callback, since it takes no signed one"
                        findings.append(skipped("webhook-unsigned", text))
                        continue
                else:
                    text = f"{where} was sent no signed callback: {SECRETS} gives no secret"
                    findings.append(skipped("webhook", text))
                answer = await poster.post(settings.secrets, unsigned=True)
            except _FAILURES as error:
                findings.append(reach_finding(error, where, proxy=poster.proxy, of="webhook-", update=update))
                continue
            findings.append(unsigned_finding(where, answer.status))
    if settings.secrets:
        findings.append(_AT_THE_SERVICE)
    return findings


#: No interface of the service shows or compares the signature secret (contract 5.9).
_AT_THE_SERVICE = skipped(
    "webhook-secret",
    "whether the service signs with this secret cannot be looked at: it shows no secret. After a change "
    "there doctor stays green; the log of the receiver tells (`wrong_signatures` of health in Python)",
)


def _urls(application: Application) -> dict[str, str]:
    """Return what each callback URL is for."""
    found: dict[str, str] = {}
    for what, url in (("status", application.status_url), ("inbound", application.inbound_url)):
        if url:
            found[url] = f"{found[url]} and {what}" if url in found else what
    return found


class _Answer(NamedTuple):
    """The status of an answer, the seconds until it came, and its skew as `_skew()` returns it."""

    status: int
    seconds: float
    skew: float | None


class _Poster(NamedTuple):
    """Posts test callbacks to one URL."""

    session: aiohttp.ClientSession
    url: str
    proxy: URL | None
    clock: Callable[[], float]

    async def post(self, secrets: Mapping[str, Sequence[str]], *, unsigned: bool = False) -> _Answer:
        """Post one test callback.

        Args:
            secrets: Signature secrets; the first one signs.
            unsigned: Post it without a signature, with the proof of a probe.
        """
        now = self.clock()
        moment = datetime.fromtimestamp(now, UTC)
        reference = "nexmo-dispatch doctor"
        body = json.dumps(
            status_body("submitted", dispatch_uuid=None, client_ref=reference, timestamp=moment)
        ).encode()
        headers = {"Content-Type": "application/json"}
        for api_key, several in list(secrets.items())[:1]:
            if unsigned:
                headers |= probe_headers(body, secret=several[0], api_key=api_key, iat=int(now))
                break
            token = sign(body, secret=several[0], api_key=api_key, iat=int(now), jti=str(uuid.uuid4()))
            headers["Authorization"] = token
        begun = time.monotonic()
        # the service follows no redirect
        async with self.session.post(
            self.url, data=body, headers=headers, proxy=self.proxy, allow_redirects=False
        ) as response:
            skew = _skew(response.headers, now, self.clock())
            return _Answer(response.status, time.monotonic() - begun, skew)


def _named(url: str) -> str:
    """Return host and port of a URL: its path may hold a secret."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{host}:{parts.port}" if parts.port else host
