"""Signature secrets from the environment, in the form that the command reads too; errors name no secret."""

from __future__ import annotations

import os
from collections.abc import Mapping

from nexmo_dispatch_webhooks.exceptions import ConfigurationError

__all__ = ["secrets_from_env"]

_VARIABLE = "NEXMO_DISPATCH_SIGNATURE_SECRETS"


def secrets_from_env(
    variable: str = _VARIABLE, *, environ: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Return the signature secrets by api key, for `setup(secrets=…)`.

    Args:
        variable: Name of the variable. It holds `API_KEY=SECRET` for each secret, with blanks between them;
            two secrets of one api key are valid side by side while one changes (contract 5.9).
        environ: The environment; None for that of the process.

    Raises:
        ConfigurationError: The variable is missing or empty, or an entry does not read `API_KEY=SECRET`.
    """
    text = (os.environ if environ is None else environ).get(variable, "").strip()
    if not text:
        raise ConfigurationError(
            f"{variable} is not set: write API_KEY=SECRET, with the api key of the account"
        )
    secrets: dict[str, list[str]] = {}
    for number, entry in enumerate(text.split(), 1):
        api_key, sign, secret = entry.partition("=")
        if not (api_key and sign and secret):
            raise ConfigurationError(f"entry {number} of {variable} does not read API_KEY=SECRET")
        secrets.setdefault(api_key, []).append(secret)
    return secrets
