"""Secrets that would travel unencrypted: a warning, and to the service's own host an error."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.applications import Applications
from nexmo_dispatch_async.auth import BearerToken, KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.urls import PlainHTTPWarning, is_loopback, is_of_the_service, plain_host
from tests.support.clients import client_of
from tests.support.misbehaving import RawServer, answering, reply

FROM_ENV = {
    "NEXMO_DISPATCH_CLIENT_ID": "id",
    "NEXMO_DISPATCH_CLIENT_SECRET": "client-secret",
    "NEXMO_DISPATCH_APPLICATION_ID": "application",
}


def client(**settings: Any) -> DispatchClient:
    return DispatchClient(auth=BearerToken("secret-token"), **settings)


def from_env(**variables: str) -> DispatchClient:
    return DispatchClient.from_env(FROM_ENV | {f"NEXMO_DISPATCH_{k}": v for k, v in variables.items()})


#: The settings that name where credentials go: with a URL, and what is named.
SETTINGS: dict[str, tuple[Callable[[str], object], str]] = {
    "base_url": (lambda url: client(base_url=url), "base_url"),
    "applications_url": (lambda url: client(applications_url=url), "applications_url"),
    "token_url": (lambda url: KpnOAuth("id", "client-secret", url), "token_url"),
    "kpn": (lambda url: DispatchClient.kpn("id", "client-secret", token_url=url), "token_url"),
    "vonage": (lambda url: DispatchClient.vonage(BearerToken("t"), base_url=url), "base_url"),
    "from_env base": (
        lambda url: from_env(BASE_URL=url, TOKEN_URL="https://token.example/t"),
        "base_url",
    ),
    "from_env token": (
        lambda url: from_env(TOKEN_URL=url, BASE_URL="https://service.example/x"),
        "token_url",
    ),
}


@pytest.fixture(params=SETTINGS)
def setting(request: pytest.FixtureRequest) -> tuple[Callable[[str], object], str]:
    return SETTINGS[request.param]


def test_http_to_another_machine_is_warned_of(setting: tuple[Callable[[str], object], str]) -> None:
    """At the line that asks for it, with the host and not the rest of the address."""
    make, name = setting
    with pytest.warns(
        PlainHTTPWarning, match=rf"^{name} is http: .* travel unencrypted to gateway\.example; "
    ) as seen:
        make("http://gateway.example:8080/9998887")

    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert "9998887" not in str(seen[0].message)


@pytest.mark.parametrize("host", ["api-prd.kpn.com", "API.KPN.com.", "api.nexmo.com", "api.vonage.com:80"])
def test_http_to_the_services_own_host_is_refused(
    setting: tuple[Callable[[str], object], str], host: str
) -> None:
    """It speaks TLS only: the scheme is a slip, and the secret would be shown before the refusal."""
    make, name = setting
    with pytest.raises(ConfigurationError, match=rf"^{name} must be https: .* would travel unencrypted to "):
        make(f"http://{host}/communication/nexmo")


@pytest.mark.parametrize(
    "url",
    [
        "https://gateway.example",
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "http://sim.localhost",
        "http://[::1]:80",
    ],
)
def test_tls_and_this_machine_are_fine(setting: tuple[Callable[[str], object], str], url: str) -> None:
    make, _ = setting
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(url)


def test_the_line_that_asks_for_it_is_warned_of() -> None:
    """It is the one to change; the lines of this package and those around it are not."""
    with pytest.warns(PlainHTTPWarning) as seen:
        KpnOAuth("id", "client-secret", "http://gateway.example/this-line")

    assert "this-line" in Path(__file__).read_text("utf-8").splitlines()[seen[0].lineno - 1]


def test_a_line_of_yours_is_warned_once() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(3):
            client(base_url="http://gateway.example")

    assert len(seen) == 1


def test_the_warning_can_be_turned_off() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=PlainHTTPWarning)
        client(base_url="http://simulator:8701")


async def test_webhooks_over_http_are_warned_of() -> None:
    """The service would post numbers and texts over the network as they are."""
    async with RawServer(answering(reply(201, {"id": "a"}))) as server, client_of(server) as own:
        applications: Applications = own.applications
        with pytest.warns(
            PlainHTTPWarning, match="^status_url is http: callbacks, with numbers and texts, travel"
        ):
            await applications.create(name="n", status_url="http://hooks.example/s")
        with pytest.warns(PlainHTTPWarning, match="^inbound_url is http: "):
            await applications.update("a", inbound_url="http://hooks.example/s")
        await applications.create(
            name="n", status_url="https://hooks.example/s", inbound_url="http://127.0.0.1/i"
        )


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("[::1%lo]", True),
        ("fe80::1%lo", False),
        ("localhost.example", False),
        ("notlocalhost", False),
        ("10.0.0.1", False),
        ("::", False),
        ("", False),
    ],
)
def test_what_stays_on_this_machine(host: str, *, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("kpn.com", True),
        ("api-prd.kpn.com", True),
        ("notkpn.com", False),
        ("kpn.com.example", False),
        ("", False),
    ],
)
def test_what_is_the_services_own(host: str, *, own: bool) -> None:
    assert is_of_the_service(host) is own


@pytest.mark.parametrize("url", ["http://[", "nonsense", "", "http://", "ftp://h"])
def test_what_is_no_address_is_for_others_to_say(url: str) -> None:
    assert plain_host(url) == ""
