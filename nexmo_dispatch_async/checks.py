"""Checks of settings where they are given, with the error of this package."""

from __future__ import annotations

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_core.checks import Checks

__all__ = ["checks"]

#: The checks of the shared layer; each raises `ConfigurationError`.
checks: Checks = Checks(ConfigurationError)
