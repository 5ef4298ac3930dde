"""Which store a command means: a file, or the URL of a Postgres database or of NATS.

A URL holds credentials, and every user of a machine sees the arguments of its processes. So the environment
names the store where the arguments name none, and no message quotes a URL.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import typer

__all__ = ["STORE", "Place", "place_of", "split", "store_and_words"]

#: The variable that names the store.
STORE: Final = "NEXMO_DISPATCH_STORE"
#: A file, or the URL of a store.
Place = Path | str


def place_of(text: str | None, *, exists: bool = False) -> Place:
    """Return what an argument names, or the environment for an argument that is missing.

    Args:
        text: The argument.
        exists: Whether a file must be there.

    Raises:
        typer.BadParameter: Neither names a store, or the file is missing.
    """
    text = text or os.environ.get(STORE)
    if not text:
        raise typer.BadParameter(f"name a file, or a store in the environment variable {STORE}")
    if "://" in text:
        return text
    path = Path(text)
    if exists and not _is_file(path):
        # a URL without its "//" is taken for a file, and holds a password all the same
        named = "there" if "@" in text else str(path)
        raise typer.BadParameter(f"no file {named!r} exists; a store is postgresql://… or nats://…")
    return path


def split(words: list[str], what: str) -> tuple[Place, str]:
    """Return the store and the last word of `[STORE] WORD`.

    Args:
        words: The arguments.
        what: What the last word is, for the message.

    Raises:
        typer.BadParameter: A word is missing, or there are too many.
    """
    if len(words) == 2:
        return place_of(words[0]), words[1]
    if len(words) > 2:
        raise typer.BadParameter(f"takes a store and {what}, nothing more")
    if not os.environ.get(STORE):
        raise typer.BadParameter(f"name the store and {what}; {STORE} names no store")
    return place_of(None), words[0]


def store_and_words(words: list[str]) -> tuple[Place, list[str]]:
    """Return the store and the other words of `[STORE] WORD...`.

    The first word is the store if it is a file that exists or a URL, or if the environment names no store.

    Args:
        words: The arguments.

    Raises:
        typer.BadParameter: No store is named, or the file is missing.
    """
    if words and ("://" in words[0] or _is_file(Path(words[0])) or not os.environ.get(STORE)):
        return place_of(words[0], exists=True), words[1:]
    return place_of(None, exists=True), words


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, or a folder that this user may not enter
        return False
