"""Lets the copy button of a conversation with a shell copy its commands, without prompts and without output.

The theme copies the attribute `data-copy` of a block where it has one, and otherwise the text that is shown.
"""

from __future__ import annotations

import re
from html import escape, unescape

_PROMPT = "$ "
_CONVERSATION = re.compile(
    r'<div class="highlight">(?=(<pre>(?:(?!</pre>).)*<span class="gp">.*?</pre>))', re.DOTALL
)
_TAG = re.compile(r"<[^>]*>")


def with_copied_commands(html: str) -> str:
    """Return the content of a page, each block with prompts marked with the commands that are copied."""

    def marked(match: re.Match[str]) -> str:
        lines = unescape(_TAG.sub("", match[1])).splitlines()
        commands = "\n".join(line.removeprefix(_PROMPT) for line in lines if line.startswith(_PROMPT))
        return f'<div class="highlight" data-copy="{escape(commands)}">'

    return _CONVERSATION.sub(marked, html)


def on_page_content(html: str, **_: object) -> str:
    """Mark the blocks of a page; mkdocs calls this for each."""
    return with_copied_commands(html)
