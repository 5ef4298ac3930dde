"""The content of an error body, in any of its shapes (contract 3.8).

It does not decide what the error means: `sansio.decipher_response` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from nexmo_dispatch_async.models.shown import AsShown
from nexmo_dispatch_async.redaction import folded, mask, redactor
from nexmo_dispatch_core.lenient import parse_object, text_or_empty, to_list, to_object

__all__ = ["InvalidParameter", "Problem", "gateway_reason", "parse_problem"]

# Apigee's fault, where it answers XML (contract 2.2).
_XML_FAULT = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?<fault\b[^>]*>(.*)", re.DOTALL | re.IGNORECASE)

# The path of a parameter, and a code: whatever else stands in their places may be a value.
_PATH = re.compile(r"[A-Za-z_$/][\w$/\[\].-]{0,79}")
_CODE = re.compile(r"[\w.-]{1,60}")


class InvalidParameter(AsShown, msgspec.Struct, frozen=True):
    """One entry of `invalid_parameters`: name and reason."""

    name: str
    reason: str

    def __str__(self) -> str:
        return self.summary(mask)

    def summary(self, hide: Callable[[str], str]) -> str:
        """Return one line, with each part passed through `hide`."""
        return ": ".join(hide(" ".join(part.split())) for part in (self.name, self.reason) if part)

    def __repr__(self) -> str:
        return f"InvalidParameter({str(self)!r})"


class Problem(AsShown, msgspec.Struct, frozen=True):
    """The content of an error body; missing members are empty.

    Attributes:
        shape: Which of the known shapes it was: `fault`, `error`, `errorResponse`, `ErrorCode`, `problem`,
            `envelope` or `text` (none of them).
        code: The machine-readable name: the fragment of a problem's `type`, Apigee's `errorcode`, …
        title: A short human-readable name.
        detail: The explanation, as the service wrote it.
        instance: The trace id of a Vonage problem.
        transaction_id: The trace id of KPN's gateway.
        invalid_parameters: What the service found wrong, one entry per parameter.
        text: The first characters of the body itself. Never logged or shown by `repr`.
    """

    shape: str = "text"
    code: str = ""
    title: str = ""
    detail: str = ""
    instance: str = ""
    transaction_id: str = ""
    invalid_parameters: tuple[InvalidParameter, ...] = ()
    text: str = ""

    def __str__(self) -> str:
        """Return one line, with telephone numbers masked."""
        return self.summary()

    def summary(self, *, body: bytes | None = None, url: str = "", secret: str | None = None) -> str:
        """Return one line without the private values of the request: see `redaction.redactor`."""
        hide = redactor(body=body, url=url, secret=secret)
        title, detail, code, trace = (
            hide(" ".join(part.split()))
            for part in (self.title, self.detail, self.code, self.transaction_id or self.instance)
        )
        line = ": ".join(dict.fromkeys(part for part in (title, detail) if part))
        if code and code not in line:
            line = f"{line} [{code}]" if line else code
        if self.invalid_parameters:
            line += f" ({'; '.join(each.summary(hide) for each in self.invalid_parameters[:5])})"
        if trace:
            line += f", trace {trace}"
        # Truncated last: half a number would not be recognised.
        return line[:500]

    def reason(self, *, body: bytes | None = None, url: str = "") -> str:
        """Return title, code and the names of the invalid parameters, without a value of the request."""
        hide = redactor(body=body, url=url)
        title, code = hide(" ".join(self.title.split()))[:100], hide(self.code)
        parts = [] if title == "…" else [title]
        if _CODE.fullmatch(code) and code not in title:
            parts.append(f"[{code}]")
        # Piece by piece: a text of the request may have a long part of a path by chance.
        paths = (".".join(map(hide, each.name.split("."))) for each in self.invalid_parameters)
        if names := [path for path in dict.fromkeys(paths) if _PATH.fullmatch(path)]:
            parts.append(f"({', '.join(names[:5])})")
        return " ".join(filter(None, parts))[:300]

    def __repr__(self) -> str:
        return f"Problem({self.shape!r}, {str(self)!r})"


def parse_problem(body: bytes) -> Problem:
    """Read an error body of any shape, in the order of contract 3.8. Any bytes are accepted."""
    text = body[:2000].decode("utf-8", "replace")
    fields = parse_object(body)
    if fields is None:
        return Problem(text=text)
    if fault := to_object(fields.get("fault")):
        code = text_or_empty(to_object(fault.get("detail")).get("errorcode"))
        return Problem("fault", code, detail=text_or_empty(fault.get("faultstring")), text=text)
    if error := to_object(fields.get("error")):
        return _envelope("error", error, text)
    if answer := to_object(fields.get("errorResponse")):
        return Problem(
            "errorResponse",
            text_or_empty(answer.get("code")),
            detail=text_or_empty(answer.get("message")),
            text=text,
        )
    if code := text_or_empty(fields.get("ErrorCode")):
        return Problem("ErrorCode", code, detail=text_or_empty(fields.get("Error")), text=text)
    kind = text_or_empty(fields.get("type"))
    title = text_or_empty(fields.get("title")) or text_or_empty(fields.get("error_title"))
    detail = text_or_empty(fields.get("detail"))
    if (title and detail) or (kind and (title or detail)) or fields.get("invalid_parameters") is not None:
        return Problem(
            "problem",
            # The host before the # changed over time; only what follows it counts (contract 3.8).
            code=_code(kind),
            title=title,
            detail=detail,
            instance=text_or_empty(fields.get("instance")),
            invalid_parameters=tuple(_parameters(fields.get("invalid_parameters"))),
            text=text,
        )
    if any(name in fields for name in ("transactionId", "name", "message")):
        return _envelope("envelope", fields, text)
    if code := text_or_empty(fields.get("error")):  # RFC 6749's own form, which some gateways fall back to
        return Problem("error", code, detail=text_or_empty(fields.get("error_description")), text=text)
    return Problem(text=text)


def _code(kind: str) -> str:
    """Return the name in the `type` of a problem; the URL of the page of all names has none."""
    name = kind.rpartition("#")[2].rpartition("/")[2]
    return "" if name == "api-errors" else name


def gateway_reason(problem: Problem) -> str:
    """Return the gateway's own text as `folded` text: the reason for which it refused a request.

    The text consists of codes, and of the sentences of faults and of envelopes with a transaction id
    (contract 2.3, 3.8). The contract would accept any text of the body; but a sentence of a Vonage problem,
    or of a body of unknown shape, may come from a system behind the gateway (such as a channel whose own
    access token expired), and from after the request was accepted.
    """
    texts = [problem.code]
    if problem.shape == "text":
        fault = _XML_FAULT.match(problem.text)
        texts.append(fault[1] if fault else "")
    elif problem.shape in _FAULTS or problem.transaction_id:
        texts += [problem.title, problem.detail]
    return "\n".join(map(folded, texts))


_FAULTS = ("fault", "errorResponse", "ErrorCode")


def _envelope(shape: str, fields: Mapping[str, Any], text: str) -> Problem:
    return Problem(
        shape,
        title=text_or_empty(fields.get("name")),
        detail=text_or_empty(fields.get("message")),
        transaction_id=text_or_empty(fields.get("transactionId")),
        text=text,
    )


def _parameters(value: object) -> Iterator[InvalidParameter]:
    """Yield the entries of an object, of a list or of texts (contract 9.7)."""
    for entry in to_list(value):
        if fields := to_object(entry):
            yield InvalidParameter(text_or_empty(fields.get("name")), text_or_empty(fields.get("reason")))
        elif reason := text_or_empty(entry):
            yield InvalidParameter("", reason)
