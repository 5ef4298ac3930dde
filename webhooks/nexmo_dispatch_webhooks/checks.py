"""Checks of settings where they are given, so that a wrong one is not found by the first callback.

Each raises a `ConfigurationError` that names the setting, the rule and what was given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

from nexmo_dispatch_webhooks.exceptions import ConfigurationError

__all__ = [
    "check_adapter",
    "check_body",
    "check_callable",
    "check_count",
    "check_seconds",
    "check_secret",
    "check_secrets",
    "check_type",
]


def check_type(name: str, value: object, kind: type, *, advice: str = "") -> None:
    """An instance, and not the class itself."""
    if not isinstance(value, kind):
        given = value.__qualname__ + " itself" if isinstance(value, type) else type(value).__qualname__
        raise ConfigurationError(
            f"{name} must be of type {kind.__qualname__}, not {given}{advice and f': {advice}'}"
        )


def check_body(body: object) -> None:
    """The raw bytes of a body: text was decoded, and may not be what was signed."""
    if not isinstance(body, bytes | bytearray | memoryview):
        raise ConfigurationError(
            f"body must be the raw bytes as they came, not {type(body).__qualname__}: "
            "a signature covers bytes, so read them before anything decodes them"
        )


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """A whole number from *least* on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{name} must be a whole number, at least {least}, not {_shown(value)}")


def check_seconds(
    name: str, value: object, *, least: float = 0.0, zero: bool = True, none: bool = False
) -> None:
    """A number of seconds from *least* on; *zero* and *none* say whether it may be these."""
    if value is None and none:
        return
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or math.isnan(value)
        or value < least
        or not (value or zero)
    ):
        rule = (f"at least {least:g}" if zero else "above 0") + (", or None" if none else "")
        raise ConfigurationError(f"{name} must be a number of seconds, {rule}, not {_shown(value)}")


def check_callable(name: str, value: object) -> None:
    """Something that can be called."""
    if not callable(value):
        raise ConfigurationError(f"{name} must be a function, not {_shown(value)}")


def check_adapter(path: object, health_path: object, max_body: object, body_timeout: object) -> None:
    """The settings that adapters share: where they are mounted, and what bodies they read."""
    for name, value in (("path", path), ("health_path", "/" if health_path is None else health_path)):
        if not isinstance(value, str) or not value.startswith("/"):
            raise ConfigurationError(f"{name} must start with /")
    check_count("max_body", max_body)
    check_seconds("body_timeout", body_timeout, zero=False, none=True)


def check_secrets(secrets: object) -> None:
    """A mapping from api keys to secrets."""
    if not isinstance(secrets, Mapping):
        raise ConfigurationError("secrets must be a mapping: {api_key: signature secret}")
    if not secrets:
        raise ConfigurationError("secrets is empty: give {api_key: signature secret}")
    for api_key, secret in cast("Mapping[object, object]", secrets).items():
        if not isinstance(api_key, str):
            raise ConfigurationError("an api_key must be text, as the tokens have it")
        check_secret(f"the signature secret of {api_key!r}", secret)


def check_secret(what: str, secret: object) -> Sequence[str | bytes]:
    """A secret or several, none of them empty; the message says whose, and nothing of it."""
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
            raise ConfigurationError(f"{what} is empty, so it keeps nobody out")
        if isinstance(item, str) and item != item.strip():
            raise ConfigurationError(f"{what} begins or ends with a blank or a line break: strip() it")
        checked.append(item)
    return checked


def _shown(value: object) -> str:
    """A number as it is, of anything else the type: a setting in the wrong place may be a secret."""
    return repr(value) if isinstance(value, int | float) or value is None else type(value).__qualname__
