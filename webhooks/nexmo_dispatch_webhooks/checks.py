"""Checks of settings where they are given, so that no callback is the first to fail.

Each raises a `ConfigurationError` that names the setting, the rule and what was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from nexmo_dispatch_core.checks import Checks, unencodable
from nexmo_dispatch_webhooks.exceptions import ConfigurationError

__all__ = [
    "check_adapter",
    "check_body",
    "check_secret",
    "check_secrets",
    "checks",
]

#: The checks of the shared layer, with the error of this package.
checks: Checks = Checks(ConfigurationError)
_RAW = (bytes, bytearray, memoryview)  # a union would be made for each callback


def check_body(body: object) -> None:
    """Require the raw bytes of a body: decoded text may differ from the signed bytes."""
    if not isinstance(body, _RAW):
        raise ConfigurationError(
            f"body must be the raw bytes as they came, not {type(body).__qualname__}: "
            "a signature covers bytes, so read them before anything decodes them"
        )


def check_adapter(path: object, health_path: object, max_body: object, body_timeout: object) -> None:
    """Check the settings that adapters share: the mount path, and the limits of bodies."""
    for name, value in (("path", path), ("health_path", "/" if health_path is None else health_path)):
        if not isinstance(value, str) or not value.startswith("/"):
            raise ConfigurationError(f"{name} must start with /")
    checks.count("max_body", max_body)
    checks.seconds("body_timeout", body_timeout, zero=False, none=True)


def check_secrets(secrets: object) -> None:
    """Require a mapping from api keys to secrets."""
    if not isinstance(secrets, Mapping):
        raise ConfigurationError("secrets must be a mapping: {api_key: signature secret}")
    if not secrets:
        raise ConfigurationError("secrets is empty: give {api_key: signature secret}")
    for api_key, secret in cast("Mapping[object, object]", secrets).items():
        if not isinstance(api_key, str):
            raise ConfigurationError("an api_key must be text, as the tokens have it")
        check_secret(f"the signature secret of {api_key!r}", secret)


def check_secret(what: str, secret: object) -> Sequence[str | bytes]:
    """Require a secret or several, none of them empty; the message names the owner, not the secret."""
    kind = type(secret).__qualname__
    several: Sequence[object] = ()
    if isinstance(secret, str | bytes):
        several = (secret,)
    elif isinstance(secret, Sequence):
        several = cast("Sequence[object]", secret)
    if not several:
        raise ConfigurationError(f"{what} must be text, bytes, or several of them, not {kind}")
    checked: list[str | bytes] = []
    for item in several:
        if not isinstance(item, str | bytes):
            raise ConfigurationError(f"{what} must be text or bytes, not {type(item).__qualname__}")
        if not item:
            raise ConfigurationError(f"{what} is empty, so it protects nothing")
        if isinstance(item, str) and (why := unencodable(item)):
            raise ConfigurationError(f"{what} {why}")
        if isinstance(item, str) and item != item.strip():
            raise ConfigurationError(f"{what} begins or ends with a blank or a line break: strip() it")
        checked.append(item)
    return checked
