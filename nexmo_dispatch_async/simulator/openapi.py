"""The OpenAPI description of the simulated service, which the simulator serves at `/openapi.json`.

The description itself is `openapi.json` beside this module; it covers the service, not the control API.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

__all__ = ["PATH", "description"]

PATH: Final = "/openapi.json"
_FILE: Final = Path(__file__).with_suffix(".json")


def description() -> dict[str, Any]:
    """Return the description as JSON values: OpenAPI 3.1, with paths from the root of the simulator's URL."""
    return msgspec.json.decode(_FILE.read_bytes(), type=dict[str, Any])
