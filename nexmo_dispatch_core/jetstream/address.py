"""`Address`: what the URL of a store on NATS says.

It connects to nothing.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from msgspec import Struct

__all__ = ["DEFAULT_SPACE", "Address", "is_nats", "read_address"]

#: What the names of streams begin with, unless the URL says otherwise.
DEFAULT_SPACE: Final = "nexmo_dispatch"
_SCHEMES: Final = ("nats", "tls")
_SPACE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OPTIONS: Final = frozenset({"credentials", "ca", "certificate", "key", "monitor"})
_FORM: Final = "it is nats://user@host:4222/name, with further hosts behind commas"


class Address(Struct, frozen=True):
    """Servers and credentials; it is never shown.

    Attributes:
        servers: One URL for each server, without credentials.
        user: Or a token, where there is no password; None for none.
        password: None for none.
        space: What the names of streams begin with: stores of one space share their data.
        tls: For `tls://`, or where a certificate is named; None otherwise.
        credentials: A file of credentials (`nsc generate creds`); None for none.
        shown: The space and the first host, without user and password.
        monitors: The monitoring ports of servers, which tell what a client cannot see.
    """

    servers: tuple[str, ...]
    user: str | None
    password: str | None
    space: str
    tls: ssl.SSLContext | None
    credentials: str | None
    shown: str
    monitors: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Address {self.shown}>"


def is_nats(store: object) -> bool:
    """Return whether a setting is the URL of a store on NATS."""
    return isinstance(store, str) and "://" in store and store.partition("://")[0].lower() in _SCHEMES


def read_address(url: str) -> Address:
    """Return what a URL says.

    Args:
        url: `nats://user:password@one:4222,two:4222,three:4222/space?credentials=FILE`; `tls://` for TLS,
            with `ca=FILE` for an authority of your own, and `certificate=FILE&key=FILE` for a certificate of
            the client. `monitor=http://one:8222,http://two:8222` names monitoring ports.

    Raises:
        ValueError: The URL cannot be read; the message does not quote it.
    """
    problem = ""
    try:
        parts = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        given, _, hosts = parts.netloc.rpartition("@")
        user, colon, password = given.partition(":")
        first = urlsplit(f"//{hosts.partition(',')[0]}")
        host, _ = first.hostname, first.port
    except ValueError:
        problem = f"the URL of the store cannot be read: {_FORM}"
    else:
        if parts.scheme.lower() not in _SCHEMES or not host:
            problem = f"the URL of the store cannot be read: {_FORM}"
        elif unknown := sorted(options.keys() - _OPTIONS):
            known = ", ".join(sorted(_OPTIONS))
            problem = f"the URL of the store has {len(unknown)} unknown options: there are {known}"
        elif not _SPACE.fullmatch(space := parts.path.strip("/") or DEFAULT_SPACE):
            problem = "the name in the URL of the store may have letters, digits, - and _, 64 at most"
        else:
            secure = parts.scheme.lower() == "tls" or not options.keys().isdisjoint({"ca", "certificate"})
            return Address(
                tuple(f"nats://{one}" for one in hosts.split(",")),
                unquote(user) or None,
                unquote(password) if colon else None,
                space,
                _context(options) if secure else None,
                options.get("credentials"),
                f"{space} at {host}",
                tuple(one for one in options.get("monitor", "").split(",") if one),
            )
    raise ValueError(problem)


def _context(options: dict[str, str]) -> ssl.SSLContext:
    problem = ""
    context = ssl.create_default_context()
    try:
        if "ca" in options:
            context = ssl.create_default_context(cafile=options["ca"])
        if "certificate" in options:
            context.load_cert_chain(Path(options["certificate"]), options.get("key"))
    except OSError as error:
        problem = f"a certificate that the URL of the store names cannot be read ({type(error).__name__})"
    if problem:
        raise ValueError(problem)
    return context
