"""By which proxy an address is reached, from the settings and from the environment."""

import pytest
from yarl import URL

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.transport.proxies import NO_PROXY, Proxies, is_bypassed, proxies_of, proxy_name

SERVICE = URL("https://api.example/dispatch")
VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def of(url: str) -> str | None:
    """Return what the proxies of the environment say of an address."""
    proxy = proxies_of(None, trust_env=True).of(URL(url))
    return None if proxy is None else str(proxy)


def test_the_environment_counts_only_if_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials go by no way that the settings do not name."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")

    assert proxies_of(None, trust_env=False) is NO_PROXY
    assert NO_PROXY.of(SERVICE) is None
    assert of(str(SERVICE)) == "http://proxy.example:3128"


def test_each_scheme_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "secure.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://plain.example:3128")

    assert of("https://api.example/") == "http://secure.example:3128"
    assert of("http://api.example/") == "http://plain.example:3128"


def test_one_variable_may_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:3128")

    assert of("https://api.example/") == of("http://api.example/") == "http://proxy.example:3128"


@pytest.mark.parametrize("url", ["https://api.example/", "http://127.0.0.1:8080/"])
def test_the_proxy_of_the_settings_counts_for_every_address(url: str) -> None:
    """It is asked for by name, so it wins over any other, and loopback goes through it as well."""
    one = URL("http://proxy.example:3128")
    every = {"all": URL("http://other.example:3128")}

    assert proxies_of(str(one), trust_env=False).of(URL(url)) == one
    assert Proxies(one, every, "*").of(URL(url)) == one


def test_variables_that_name_no_proxy_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of exempt hosts, other schemes and blank values are no URLs of proxies."""
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "*.test, fd00::/8")
    monkeypatch.setenv("SOMETHING_PROXY", "no://url at all")
    monkeypatch.setenv("HTTPS_PROXY", " ")

    assert of("https://api.example/") == "http://proxy.example:3128"
    assert of("https://api.test/") is None


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_this_machine_is_reached_without(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """A simulator on loopback works wherever the environment names a proxy."""
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:3128")

    assert of(f"http://{host}:8080/") is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "bypassed"),
    [
        ("*", "api.example", True),
        ("example", "api.example", True),
        (".example", "api.example", True),
        ("*.example", "api.example", True),
        ("api.example", "api.example", True),
        ("API.Example.", "api.example", True),
        ("other.test, api.example", "api.example", True),
        ("pi.example", "api.example", False),
        ("api.example.org", "api.example", False),
        ("api.example:443", "api.example", True),
        ("api.example:8443", "api.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3/8", "10.9.9.9", True),
        ("fd00::/8", "fd00::1", True),
        ("", "api.example", False),
        (" , ", "api.example", False),
        (" , ", "", False),
    ],
)
def test_what_the_environment_exempts(no_proxy: str, host: str, *, bypassed: bool) -> None:
    assert is_bypassed(host, 443, no_proxy) is bypassed


def test_an_exempt_host_is_reached_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Token and service may be at different hosts: each is looked at by itself."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "api.example")

    assert of("https://api.example/") is None
    assert of("https://token.test/") == "http://proxy.example:3128"


@pytest.mark.parametrize("proxy", ["nowhere", "ftp://h", "http://", "http://user:proxy-password@"])
def test_a_wrong_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^proxy must be an absolute") as caught:
        proxies_of(proxy, trust_env=False)

    assert "proxy-password" not in str(caught.value)
    if "://" in proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(ConfigurationError, match=r"^HTTPS_PROXY must be an absolute"):
            proxies_of(None, trust_env=True)


@pytest.mark.parametrize("password", ["pa/ss", "pa#ss", "pa?ss", "12/34", "a/b@c"])
def test_a_password_that_would_end_the_address_is_refused(password: str) -> None:
    """Part of it would stand in the place of the host, and be shown as such."""
    with pytest.raises(ConfigurationError, match="percent-encode its credentials") as caught:
        proxies_of(f"http://user:{password}@proxy.example:3128", trust_env=False)

    assert caught.value.__cause__ is None
    assert password not in f"{caught.value!r}{caught.value.__context__!r}"


def test_a_proxy_is_given_once() -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        proxies_of("http://proxy.example:3128", trust_env=True)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://user:proxy-password@proxy.example:3128", "proxy.example:3128"),
        ("http://proxy.example", "proxy.example:80"),
        ("https://proxy.example", "proxy.example:443"),
        ("http://[::1]:3128", "[::1]:3128"),
    ],
)
def test_a_proxy_is_named_by_host_and_port(url: str, name: str) -> None:
    assert proxy_name(URL(url)) == name
