"""The README of the receiver keeps its promise."""

import re
from pathlib import Path

README = Path(__file__).parent.parent.parent / "webhooks" / "README.md"


def test_a_complete_receiver_takes_fewer_than_30_lines() -> None:
    """That it runs as printed is shown by tests/test_docs.py."""
    block = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)[0]

    assert len([line for line in block.splitlines() if line.strip()]) < 30
