"""A workflow with fields, compiled to byte segments between which the values of a row are put.

What is not proven right at a glance goes through `Workflow` and its rules: the two ways give the same bytes.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple, cast

import msgspec

from nexmo_dispatch_async.bulk.rejects import RowError
from nexmo_dispatch_async.bulk.templates.message_texts import Texts, fill, tidy
from nexmo_dispatch_async.bulk.templates.placeholders import Field
from nexmo_dispatch_async.bulk.templates.rendering import RenderedWorkflow
from nexmo_dispatch_async.exceptions import InvalidWorkflowError
from nexmo_dispatch_async.models.findings import Finding
from nexmo_dispatch_async.models.requests import Step
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.rules.specs import CRIMEA, SANCTIONED, SPECS
from nexmo_dispatch_async.workflow import Workflow

__all__ = ["CompiledWorkflow", "row_error", "value_of"]

_encode = msgspec.json.Encoder().encode
# How numbers begin that need a closer look, as in rules/usual_fast_path.py.
_SENSITIVE: Final = frozenset(code[:2] for code in (*SANCTIONED, *CRIMEA))
# Rules that look at what a row brings and are warnings: where one is an error, every row is looked at.
_WARNINGS = (
    *("sms-segments", "template-length", "template-parameter", "url-form", "media-extension"),
    *("mms-numbers", "care-window"),
)
_is_phone = re.compile("[1-9][0-9]{6,14}").fullmatch
_LONGEST = {"caption": 3000, "url": 2000}
_NO_LIMIT = 1 << 60
_ANY_NUMBER, _ANY_TEXT = "447700900123", "x"
_REF = "client_ref"


_Kind = Literal["text", "phone", "id"]


class _Use(NamedTuple):
    """One field as it is used: in texts, as a telephone number, or as the id of a person."""

    name: str
    default: str | None
    kind: _Kind


class _Limit(NamedTuple):
    """How long a text may be: its literal characters, and the fields in it."""

    literal: int
    longest: int
    uses: tuple[int, ...]


class CompiledWorkflow:
    """The steps for one order of channels and one language.

    Args:
        steps: The steps as they go out, their conditions included.
        texts: Of each step, the texts that have fields.
        rules: The rules that the workflow must pass.

    Raises:
        InvalidWorkflowError: It breaks a rule whatever the row holds.
    """

    def __init__(self, steps: Sequence[Step], texts: Sequence[Texts], rules: Rules) -> None:
        self._steps = tuple(steps)
        self._texts = tuple(texts)
        self._rules = rules
        self.channels: tuple[str, ...] = tuple(step.channel for step in steps)
        own = [step.client_ref for step in steps if isinstance(step.client_ref, str)]
        self._own_refs = tuple(own)
        exact = any(rules.severity(rule) == "error" for rule in _WARNINGS)
        #: Warnings that hold for every row.
        self.findings: tuple[Finding, ...] = ()
        self._by_hand: bool = exact or any(_REF in each for each in texts)
        self._check_once()
        self._uses, self._limits, self._slack = self._look()
        self._with_ref = self._compile(spliced=True)
        self._without = self._compile(spliced=False)

    def render(self, fields: Mapping[str, str], client_ref: str | None) -> RenderedWorkflow:
        """Return the workflow of a row.

        Raises:
            RowError: A field is missing, or the workflow breaks a rule.
        """
        if self._by_hand or (client_ref is not None and not (len(client_ref) <= 40 and client_ref.isascii())):
            return self._rendered_by_hand(fields, client_ref)
        segments, positions = self._without if client_ref is None else self._with_ref
        parts = segments.copy()
        total = 0
        try:
            for (name, default, kind), places in zip(self._uses, positions, strict=False):
                value = fields.get(name)
                if not value or value.isspace():
                    value = value_of(fields, name, default)
                if kind == "phone":
                    if _is_phone(value) is None or value[:2] in _SENSITIVE:
                        return self._rendered_by_hand(fields, client_ref)
                    piece = value.encode()
                else:
                    total += len(value)
                    piece = _encode(value if kind == "text" else value.strip())[1:-1]
                for place in places:
                    parts[place] = piece
        except (UnicodeEncodeError, TypeError, AttributeError):
            # Half a surrogate pair, or a value that is no text: the rules name it.
            return self._rendered_by_hand(fields, client_ref)
        if total > self._slack and not self._fits(fields):
            return self._rendered_by_hand(fields, client_ref)
        if client_ref is not None:
            for place in positions[-1]:
                parts[place] = _encode(client_ref)[1:-1]
        return RenderedWorkflow(b"".join(parts), self.channels, self._client_refs(client_ref))

    def workflow(self, fields: Mapping[str, str], client_ref: str | None = None) -> Workflow:
        """Return the same as a `Workflow`, unchecked: what `render` must be equal to.

        Raises:
            RowError: A field is missing.
        """
        steps = [
            fill(step, {place: _text(fields, place, pieces) for place, pieces in texts.items()})
            for step, texts in zip(self._steps, self._texts, strict=True)
        ]
        workflow = Workflow(tuple(steps))
        return workflow if client_ref is None else workflow.with_client_ref(client_ref)

    def _rendered_by_hand(self, fields: Mapping[str, str], client_ref: str | None) -> RenderedWorkflow:
        workflow = self.workflow(fields, client_ref)
        try:
            workflow.check(self._rules)
        except InvalidWorkflowError as error:
            raise self._row_error(error.findings[0]) from None
        return RenderedWorkflow(workflow.to_json(), self.channels, workflow.client_refs)

    def _row_error(self, finding: Finding) -> RowError:
        """Say which field of the row is behind a finding."""
        return row_error(finding, next(iter(self._fields_behind(finding)), ""))

    def _fields_behind(self, finding: Finding) -> list[str]:
        """Return the names of the fields in the place that a finding is about."""
        texts = self._texts[finding.step - 1] if finding.step is not None else {}
        for place, pieces in texts.items():
            if place.removesuffix(".default") == finding.field or place == _twin(finding.field):
                return [piece.name for piece in pieces if isinstance(piece, Field)]
        return []

    def _client_refs(self, client_ref: str | None) -> tuple[str, ...]:
        if not self._own_refs:
            return () if client_ref is None else (client_ref,)
        refs = [step.client_ref if isinstance(step.client_ref, str) else client_ref for step in self._steps]
        return tuple(dict.fromkeys(ref for ref in refs if ref is not None))

    def _fits(self, fields: Mapping[str, str]) -> bool:
        """Whether every text is within its limit, without doubt."""
        lengths = [len(value_of(fields, use.name, use.default)) for use in self._uses]
        return all(
            0 < limit.literal + sum(lengths[use] for use in limit.uses) <= limit.longest
            for limit in self._limits
        )

    def _check_once(self) -> None:
        """Hold what does not depend on the row against the rules."""
        steps = [
            fill(
                step,
                {
                    place: "".join(_example(place, step, piece) for piece in pieces)
                    for place, pieces in texts.items()
                },
            )
            for step, texts in zip(self._steps, self._texts, strict=True)
        ]
        findings = Workflow(tuple(steps)).lint(self._rules)
        if errors := [finding for finding in findings if finding.severity == "error"]:
            raise InvalidWorkflowError(errors)
        # What is said of an example value says nothing of the rows.
        self.findings = tuple(finding for finding in findings if not self._fields_behind(finding))

    def _look(self) -> tuple[list[_Use], list[_Limit], int]:
        """Return the distinct uses of fields, the limits of texts, and how many characters always fit."""
        known: dict[_Use, int] = {}
        limits: list[_Limit] = []
        slack = _NO_LIMIT
        for step, texts in zip(self._steps, self._texts, strict=True):
            for place, pieces in texts.items():
                uses = [
                    known.setdefault(_Use(*piece, _kind(place, step)), len(known))
                    for piece in pieces
                    if isinstance(piece, Field)
                ]
                longest = self._longest(place, step)
                if not uses or longest is None:
                    continue
                literal = sum(len(piece) for piece in pieces if isinstance(piece, str))
                limits.append(_Limit(literal, longest, tuple(uses)))
                most = max(uses.count(use) for use in uses)
                empty = not literal and all(
                    piece.default is not None and not piece.default.strip()
                    for piece in pieces
                    if isinstance(piece, Field)
                )
                slack = min(slack, -1 if empty else (longest - literal) // most)
        return [*known], limits, slack

    def _longest(self, place: str, step: Step) -> int | None:
        """Return how long the text in a place may be, without doubt; `None` for no limit."""
        end = place.rpartition(".")[2]
        if place == "message.content.text":
            longest = SPECS[step.channel].text_limit
        elif place.startswith("message.content.custom") or end not in _LONGEST:
            return 50 if place == "to.id" else None
        else:
            longest = _LONGEST[end]
        return longest // 2 if self._rules.utf16 else longest

    def _compile(self, *, spliced: bool) -> tuple[list[bytes], list[tuple[int, ...]]]:
        """Return the segments with room between them, and the positions of each use, the reference last."""
        mark = f"@{secrets.token_hex(8)}@"
        index = {use: number for number, use in enumerate(self._uses)}

        def marked(place: str, step: Step, piece: str | Field) -> str:
            if isinstance(piece, str):
                return piece
            return f"{mark}{index[_Use(*piece, _kind(place, step))]:05d}@"

        steps = [
            fill(
                step,
                {
                    place: "".join(marked(place, step, piece) for piece in pieces)
                    for place, pieces in texts.items()
                },
            )
            for step, texts in zip(self._steps, self._texts, strict=True)
        ]
        workflow = Workflow(tuple(steps))
        if spliced:
            workflow = workflow.with_client_ref(f"{mark}{len(index):05d}@")
        parts = re.split(f"{mark}([0-9]{{5}})@".encode(), workflow.to_json())
        positions = [
            tuple(place for place in range(1, len(parts), 2) if int(parts[place]) == use)
            for use in range(len(index) + 1)
        ]
        return parts, positions


def value_of(fields: Mapping[str, str], name: str, default: str | None) -> str:
    """Return the value of a field, or what stands instead.

    Raises:
        RowError: It is missing or empty, and nothing stands instead.
    """
    value = fields.get(name)
    # What is no text is named by the rule about types.
    if value and not (isinstance(cast("object", value), str) and value.isspace()):
        return value
    if default is not None:
        return default
    if value is None:
        near = get_close_matches(name, list(fields), 1, 0.6)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RowError(name, "field-missing", f"is no column of this row{hint}")
    advice = f"is empty; fill it in, or write {{{name}|…}} in the template for what stands instead"
    raise RowError(name, "field-empty", advice)


def row_error(finding: Finding, field: str = "") -> RowError:
    """Return a finding as the error of a row."""
    place = "" if finding.step is None else f"step {finding.step}"
    where = ", ".join(part for part in (place, finding.field) if part)
    advice = finding.message if field else f"{where or 'workflow'}: {finding.message}"
    return RowError(field, finding.rule, advice)


def _text(fields: Mapping[str, str], place: str, pieces: Sequence[str | Field]) -> str:
    values = [piece if isinstance(piece, str) else value_of(fields, *piece) for piece in pieces]
    for piece, value in zip(pieces, values, strict=True):
        if not isinstance(cast("object", value), str):
            name = piece.name if isinstance(piece, Field) else ""
            raise RowError(name, "type", f"must be text, not a {type(value).__name__}; convert it")
    return tidy(place, "".join(values))


def _kind(place: str, step: Step) -> _Kind:
    if place not in ("to.number", "to.id"):
        return "text"
    return "phone" if SPECS[step.channel].recipient_is_phone else "id"


def _example(place: str, step: Step, piece: str | Field) -> str:
    if isinstance(piece, str):
        return piece
    return _ANY_NUMBER if _kind(place, step) == "phone" else _ANY_TEXT


def _twin(field: str) -> str:
    """Return the other member of an address: the rules name the one that they read."""
    return {"to.id": "to.number", "to.number": "to.id"}.get(field, field)
