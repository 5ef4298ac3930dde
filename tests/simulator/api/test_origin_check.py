"""No other web site can call the control API, by whatever name it reaches this port."""

import pytest
from multidict import CIMultiDict

from nexmo_dispatch_async.simulator.api.origin_check import HEADERS, refusal

JSON = "application/json"


def asked(
    method: str = "POST", *, page: bool = False, hosts: frozenset[str] = frozenset(), **headers: str
) -> int:
    """Return the status of the refusal, 0 when there is none."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    refused = refusal(method, CIMultiDict(names), hosts=hosts, page=page)
    return refused[0] if refused else 0


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8701",
        "LOCALHOST:8701",
        "localhost.:80",
        "127.0.0.1:8701",
        "127.8.9.1",
        "[::1]:8701",
        "[::1]",
    ],
)
def test_loopback_names_and_addresses_are_served(host: str) -> None:
    assert asked("GET", Host=host) == 0
    assert asked("POST", Host=host, Content_Type=JSON) == 0


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8701",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example#@localhost",
        "localhost@evil.example",
        "localhost/evil.example",
        "192.168.1.5:8701",
        "0.0.0.0:8701",
        "localhost:port",
        "[::1",
        "[fe80::1]:8701",
        "2130706433",
    ],
)
def test_dns_rebinding_is_refused(host: str) -> None:
    """A name that another site may own reaches nothing, not even the page."""
    assert asked("GET", Host=host) == 403
    assert asked("GET", Host=host, page=True) == 403
    assert asked("POST", Host=host, Content_Type=JSON) == 403


def test_the_bound_host_is_served() -> None:
    hosts = frozenset({"sim.test", "192.168.1.5"})

    assert asked("GET", hosts=hosts, Host="SIM.test:8701") == 0
    assert asked("GET", hosts=hosts, Host="192.168.1.5:8701") == 0
    assert asked("GET", hosts=hosts, Host="192.168.1.6:8701") == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "nonsense"])
def test_a_browser_that_names_another_site_is_refused(site: str) -> None:
    """Another port of localhost is the same site but not the same origin."""
    assert asked("GET", Host="localhost:8701", Sec_Fetch_Site=site) == 403
    assert asked("POST", Host="localhost:8701", Sec_Fetch_Site=site, Content_Type=JSON) == 403
    assert asked("POST", Host="localhost:8701", Sec_Fetch_Site=site, Content_Type=JSON, page=True) == 403


def test_a_link_on_another_site_may_lead_to_the_page() -> None:
    assert asked("GET", Host="localhost:8701", Sec_Fetch_Site="cross-site", page=True) == 0


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://localhost:3000",
        "http://127.0.0.1:8701",
        "https://localhost:8701",
        "http://localhost:8701.evil.example",
    ],
)
def test_another_origin_is_refused(origin: str) -> None:
    assert asked("POST", Host="localhost:8701", Content_Type=JSON, Origin=origin) == 403
    assert asked("GET", Host="localhost:8701", Origin=origin) == 403


def test_the_own_origin_is_served() -> None:
    own = "localhost:8701"

    assert asked(Host=own, Content_Type=JSON, Origin=f"http://{own}", Sec_Fetch_Site="same-origin") == 0


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json"]
)
def test_what_a_form_can_post_is_refused(kind: str) -> None:
    """These need no preflight, so a page elsewhere could post them blindly."""
    assert asked("POST", Host="localhost", Content_Type=kind) == 415


def test_json_with_parameters_is_json() -> None:
    assert asked("POST", Host="localhost", Content_Type="Application/JSON; charset=utf-8") == 0


def test_the_policy_lets_nothing_in_from_elsewhere() -> None:
    policy = HEADERS["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert not any(name.lower().startswith("access-control") for name in HEADERS)
