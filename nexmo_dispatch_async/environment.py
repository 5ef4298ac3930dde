"""The environment variables of `DispatchClient.from_env()`; errors name the variable.

The module makes no client, and reads the mapping that the caller passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from nexmo_dispatch_async.auth import KPN_TOKEN_URL, KpnOAuth, check_url, header_text
from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["Environment"]

_PREFIX = "NEXMO_DISPATCH_"
_WITHOUT = "; application calls alone need none: from_env(application_id=None)"


class Environment:
    """The variables `NEXMO_DISPATCH_…`; an empty variable counts as missing.

    Args:
        variables: The environment, such as `os.environ`.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def __repr__(self) -> str:
        return "<Environment>"

    def require(self, *, credentials: bool = False, application_id: bool = False) -> None:
        """Raise an error that names every missing variable, for a program to end before it does anything.

        Args:
            credentials: Whether client id and secret are required.
            application_id: Whether the application is.

        Raises:
            ConfigurationError: A required variable is missing.
        """
        wanted = ("CLIENT_ID", "CLIENT_SECRET") * credentials + ("APPLICATION_ID",) * application_id
        missing = [f"{_PREFIX}{name}" for name in wanted if not self._text(name)]
        if missing:
            *others, last = missing
            names = f"{', '.join(others)} and {last}" if others else last
            advice = _WITHOUT if missing == [f"{_PREFIX}APPLICATION_ID"] else ""
            raise ConfigurationError(f"set {names} in the environment{advice}")

    def application_id(self) -> str | None:
        """Return `NEXMO_DISPATCH_APPLICATION_ID`; None if the variable is missing.

        Raises:
            ConfigurationError: The value has characters that no header may carry.
        """
        text = self._text("APPLICATION_ID")
        return header_text(f"{_PREFIX}APPLICATION_ID", text) if text else None

    def base_url(self) -> str | None:
        """Return `NEXMO_DISPATCH_BASE_URL`; None if the variable is missing.

        Raises:
            ConfigurationError: The value is no absolute http(s) URL.
        """
        text = self._text("BASE_URL")
        return check_url(f"{_PREFIX}BASE_URL", text) if text else None

    def credentials(self, base_url: str | None) -> KpnOAuth:
        """Return the credentials, with the URL of their token endpoint.

        Args:
            base_url: Base URL of the service; None for KPN's own service.

        Raises:
            ConfigurationError: A variable is missing or wrong; see `token_url` too.
        """
        self.require(credentials=True)
        client_id, client_secret = (
            header_text(f"{_PREFIX}{name}", self._text(name)) for name in ("CLIENT_ID", "CLIENT_SECRET")
        )
        return KpnOAuth(client_id, client_secret, self.token_url(base_url))

    def token_url(self, base_url: str | None) -> str:
        """Return the URL of the token endpoint.

        Args:
            base_url: Base URL of the service; None for KPN's own service.

        Raises:
            ConfigurationError: One of the two URLs is that of another host, and the other URL is missing; or
                the value is no absolute http(s) URL.
        """
        text = self._text("TOKEN_URL")
        token_url = check_url(f"{_PREFIX}TOKEN_URL", text, query=True) if text else None
        # Another service needs both URLs: secrets must not go to a host that the settings do not name.
        kpn = _host(KPN_TOKEN_URL)
        if token_url is None and base_url is not None and _host(base_url) != kpn:
            raise ConfigurationError(
                f"set {_PREFIX}TOKEN_URL in the environment too: the base URL is that of another host, and "
                f"the credentials would go to {kpn}"
            )
        if base_url is None and token_url is not None and _host(token_url) != kpn:
            raise ConfigurationError(
                f"set {_PREFIX}BASE_URL in the environment too: {_PREFIX}TOKEN_URL is that of another host, "
                f"and its tokens would go to {kpn}"
            )
        return token_url or KPN_TOKEN_URL

    def _text(self, name: str) -> str:
        return self._variables.get(f"{_PREFIX}{name}", "").strip()


def _host(url: str) -> str | None:
    return urlsplit(url).hostname
