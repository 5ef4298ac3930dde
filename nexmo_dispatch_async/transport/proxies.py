"""The proxy for a URL: one proxy for all, those of the environment, or none.

The module opens no connection. Its texts never contain the credentials of a proxy.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.request import getproxies_environment

from yarl import URL

from nexmo_dispatch_async.auth import check_url
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.urls import is_loopback

__all__ = ["NO_PROXY", "Proxies", "is_bypassed", "proxies_of", "proxy_name"]


class Proxies:
    """The proxies of a client, by URL.

    Args:
        one: The proxy for every URL.
        by_scheme: Without `one`, the proxies for `https`, `http` or `all` URLs.
        bypassed: The hosts that are reached without a proxy, in the form of `NO_PROXY`.
    """

    __slots__ = ("_by_scheme", "_bypassed", "_one")

    def __init__(
        self,
        one: URL | None = None,
        by_scheme: Mapping[str, URL] | None = None,
        bypassed: str = "",
    ) -> None:
        self._one = one
        self._by_scheme: Mapping[str, URL] = by_scheme or {}
        self._bypassed = bypassed

    def of(self, url: URL) -> URL | None:
        """Return the proxy for `url`, or `None`.

        A loopback address is reached without a proxy of the environment.
        """
        if self._one is not None or not self._by_scheme:
            return self._one
        host = url.host or ""
        if is_loopback(host) or is_bypassed(host, url.port, self._bypassed):
            return None
        return self._by_scheme.get(url.scheme, self._by_scheme.get("all"))

    def of_text(self, url: str) -> URL | None:
        """Return the proxy for a URL in text form; `None` also for a text that is not a URL."""
        try:
            return self.of(URL(url, encoded=True))
        except ValueError:
            return None


NO_PROXY = Proxies()


def proxies_of(proxy: str | None, *, trust_env: bool) -> Proxies:
    """Return the proxies in the settings of a client.

    Args:
        proxy: The URL of one proxy for everything.
        trust_env: Whether to read `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper or lower
            case, now.

    Raises:
        ConfigurationError: A URL is invalid, or both arguments are given.
    """
    if proxy is not None:
        if trust_env:
            raise ConfigurationError("give a proxy or trust_env, not both")
        return Proxies(_parsed("proxy", proxy))
    if not trust_env:
        return NO_PROXY
    found = getproxies_environment()
    by_scheme = {
        scheme: _parsed(f"{scheme.upper()}_PROXY", text if "://" in text else f"http://{text}")
        for scheme, text in found.items()
        if scheme in _SCHEMES and text.strip()
    }
    return Proxies(by_scheme=by_scheme, bypassed=found.get("no", ""))


_SCHEMES = ("https", "http", "all")


def is_bypassed(host: str, port: int | None, no_proxy: str) -> bool:
    """Return whether `NO_PROXY` names a host.

    `NO_PROXY` is a list, separated by commas, of names, which include their subdomains, of addresses and
    networks, each with an optional port, or of `*` for all hosts.
    """
    host = host.lower().rstrip(".")
    for entry in no_proxy.lower().split(","):
        name = entry.strip()
        if name.count(":") == 1:
            name, _, suffix = name.partition(":")
            if suffix != str(port):
                continue
        if name == "*":
            return True
        name = name.removeprefix("*").strip(".")
        if name and (host == name or host.endswith(f".{name}") or _is_within(host, name)):
            return True
    return False


def _is_within(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def proxy_name(proxy: URL) -> str:
    """Return host and port, without the credentials."""
    host = proxy.host or ""
    return f"[{host}]:{proxy.port}" if ":" in host else f"{host}:{proxy.port}"


def _parsed(name: str, text: str) -> URL:
    # Unlike every other URL, that of a proxy may contain credentials.
    text = text.strip()
    scheme, _, rest = text.partition("://")
    plain = check_url(name, f"{scheme}://{rest.rpartition('@')[2]}")
    try:
        proxy = URL(text)
        if proxy.origin() == URL(plain).origin():
            return proxy
    except ValueError:
        pass
    # A slash or the like in a password ends the authority there: parts of the credentials would be shown.
    raise ConfigurationError(f"{name} is not a URL: percent-encode its credentials") from None
