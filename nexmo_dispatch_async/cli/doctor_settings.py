"""What the environment says to `nexmo-dispatch doctor`: settings that are missing, malformed or confused.

It opens no connection and reads the mapping that the caller passes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct

from nexmo_dispatch_async.auth import KPN_TOKEN_URL, check_url
from nexmo_dispatch_async.client_settings import KPN_BASE_URL
from nexmo_dispatch_async.environment import Environment
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.transport.proxies import Proxies, proxies_of
from nexmo_dispatch_async.urls import PlainHTTPWarning, check_plain_http
from nexmo_dispatch_core.findings import Finding, bad, good, warning

__all__ = ["SECRETS", "Settings", "read_settings", "secrets_of"]

T = TypeVar("T")

#: The variable with the signature secrets, as pairs API_KEY=SECRET with blanks between them.
SECRETS = "NEXMO_DISPATCH_SIGNATURE_SECRETS"
_ID, _SECRET = "NEXMO_DISPATCH_CLIENT_ID", "NEXMO_DISPATCH_CLIENT_SECRET"
_BASE, _TOKEN = "NEXMO_DISPATCH_BASE_URL", "NEXMO_DISPATCH_TOKEN_URL"
_APPLICATION = "NEXMO_DISPATCH_APPLICATION_ID"


class Settings(Struct, frozen=True):
    """The settings that the other checks need.

    Attributes:
        base_url: Of the service; `""` where the variables do not tell.
        token_url: Of its token endpoint; `""` where the variables do not tell.
        has_credentials: Whether a client can be made from the environment.
        application_id: The application; `""` for none.
        secrets: Signature secrets by api key; the first one signs.
        proxies: The proxies of the environment.
    """

    base_url: str
    token_url: str
    has_credentials: bool
    application_id: str
    secrets: Mapping[str, Sequence[str]]
    proxies: Proxies

    def __repr__(self) -> str:
        return f"Settings({self.base_url!r}, {len(self.secrets)} secrets)"


def read_settings(environ: Mapping[str, str]) -> tuple[Settings, list[Finding]]:
    """Return the settings, and what is wrong with them.

    Args:
        environ: The environment, such as `os.environ`.
    """
    found = [_missing(name, what, environ) for name, what in _CREDENTIALS]
    findings = [finding for finding in found if finding is not None]
    variables, missing = Environment(environ), bool(findings)

    def read(variable: Callable[[], T], otherwise: T) -> T:
        """Read one variable: one that is wrong says nothing about the others."""
        try:
            return variable()
        except ConfigurationError as error:
            findings.append(bad("setting", str(error), "correct the variable that is named"))
            return otherwise

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PlainHTTPWarning)
        base_url, token_url = _urls(variables, environ, read)
        application_id = read(lambda: variables.application_id() or "", None)
        known = base_url and token_url and application_id is not None and not missing
        complete = bool(known and read(lambda: variables.credentials(variables.base_url()), None))
    findings += [
        warning("plain-http", text, "use https, or keep the service in a network of your own")
        for text in dict.fromkeys(
            str(each.message) for each in caught if issubclass(each.category, PlainHTTPWarning)
        )
    ]
    secrets, wrong = secrets_of(environ)
    if not findings:
        findings.append(good("settings", f"{_ID} and {_SECRET} are set"))
    if application_id == "":
        findings.append(_missing_application())
    findings += [*wrong, *_confused(environ, secrets)]
    proxies, refused = _proxies()
    application_id = application_id or ""
    settings = Settings(base_url, token_url, complete, application_id, secrets, proxies)
    return settings, [*findings, *refused]


_CREDENTIALS = (
    (_ID, "the client id of the project in the developer portal"),
    (_SECRET, "the client secret of the project in the developer portal"),
)


def _missing(name: str, what: str, environ: Mapping[str, str]) -> Finding | None:
    if environ.get(name, "").strip():
        return None
    return bad("credentials-missing", f"{name} is not set", f"export {name} with {what}")


def _urls(
    variables: Environment, environ: Mapping[str, str], read: Callable[[Callable[[], str], str], str]
) -> tuple[str, str]:
    """Return the URLs of service and token endpoint; nothing for one that the variables do not tell.

    One of the two that is missing beside the other one is not KPN's: no secret goes to a host that was not
    named, and nothing is looked at there.
    """
    given_base, given_token = (environ.get(name, "").strip() for name in (_BASE, _TOKEN))
    base_url = read(lambda: variables.base_url() or KPN_BASE_URL, "")
    token_url = read(lambda: check_url(_TOKEN, given_token, query=True), "") if given_token else KPN_TOKEN_URL
    if not base_url or not read(lambda: _named(_BASE, base_url), ""):
        return "", token_url if given_token else ""
    if token_url:
        token_url = read(lambda: variables.token_url(base_url if given_base else None), "")
        if not token_url and given_token:
            return "", check_url(_TOKEN, given_token, query=True)
    return base_url, token_url


def _named(name: str, url: str) -> str:
    """Return a URL, with the client's warning where it is `http://` to another machine."""
    check_plain_http(name, url)
    return url


def _missing_application() -> Finding:
    text = f"{_APPLICATION} is not set: a workflow is sent in the name of an application"
    cure = (
        "look for it with `nexmo-dispatch apps list`, or create one with `nexmo-dispatch apps create`; then "
        f"export its id as {_APPLICATION}"
    )
    return bad("application-missing", text, cure)


def secrets_of(environ: Mapping[str, str]) -> tuple[dict[str, list[str]], list[Finding]]:
    """Return the signature secrets of the environment by api key, and what is wrong with them."""
    texts = environ.get(SECRETS, "").split()
    if not texts:
        text = f"{SECRETS} is not set: callbacks cannot be verified"
        cure = f"export {SECRETS}=API_KEY=SECRET with the signature secret of the account"
        return {}, [warning("secrets-missing", text, cure)]
    secrets: dict[str, list[str]] = {}
    findings: list[Finding] = []
    for number, each in enumerate(texts, start=1):
        api_key, equals, secret = each.partition("=")
        if api_key and equals and secret:
            secrets.setdefault(api_key, []).append(secret)
        else:
            text = f"{SECRETS}: entry {number} does not read API_KEY=SECRET"
            findings.append(bad("secrets-malformed", text, "write API_KEY=SECRET, with blanks between pairs"))
    if not findings:
        findings.append(good("secrets", f"{SECRETS} has {_count(len(texts), 'secret')}"))
    return secrets, findings


def _confused(environ: Mapping[str, str], secrets: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Find a client secret where the signature secret belongs: they are two secrets (contract 5.9)."""
    client_secret = environ.get(_SECRET, "").strip()
    if not any(client_secret in each for each in secrets.values()):
        return []
    text = f"{SECRETS} holds the client secret, which signs no callbacks"
    return [bad("secrets-confused", text, "ask for the signature secret of the account; it is another one")]


def _proxies() -> tuple[Proxies, list[Finding]]:
    try:
        proxies = proxies_of(None, trust_env=True)
    except ConfigurationError as error:
        return Proxies(), [bad("proxy-url", str(error), "write http://user:password@host:port")]
    return proxies, []


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
