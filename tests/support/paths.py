"""Where the repository's files are, for tests at any depth."""

from __future__ import annotations

from pathlib import Path

__all__ = ["OBSERVED", "PAYLOADS", "REQUESTS", "ROOT", "WEBHOOKS"]

ROOT = Path(__file__).parent.parent.parent
PAYLOADS = ROOT / "tests" / "data" / "payloads"
REQUESTS = PAYLOADS / "requests"
WEBHOOKS = PAYLOADS / "webhooks"
OBSERVED = PAYLOADS / "observed"
