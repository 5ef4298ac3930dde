"""`WorkflowTemplate`: a workflow with fields in its texts, one message per channel and language.

Fields are written `{name}`, so that a template can be part of a file, and `{{1}}` keeps its meaning on
WhatsApp. The module reads no rows: `rows.intake` does.
"""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import msgspec
from msgspec import UNSET

from nexmo_dispatch_async.bulk.rejects import RowError
from nexmo_dispatch_async.bulk.templates.compiled import CompiledWorkflow, row_error, value_of
from nexmo_dispatch_async.bulk.templates.message_texts import SENDERS, Texts, texts_of, tidy
from nexmo_dispatch_async.bulk.templates.placeholders import Field
from nexmo_dispatch_async.bulk.templates.rendering import RenderedWorkflow, Route, TemplateRow
from nexmo_dispatch_async.exceptions import ConfigurationError, InvalidWorkflowError
from nexmo_dispatch_async.models.findings import Finding
from nexmo_dispatch_async.models.requests import Step
from nexmo_dispatch_async.rules import DEFAULT_RULES, Rules
from nexmo_dispatch_async.rules.specs import SPECS
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["FunctionTemplate", "WorkflowTemplate"]

# Places with few values, or whose values decide which rules apply: a workflow is compiled per value.
_FREE = ("message.content.text", ".caption", ".url", ".default", "to.number", "to.id")
_FREE_BELOW = ("message.content.custom", "extra.", "client_ref")
# Maximum number of compiled workflows: languages x orders of channels x senders.
_KEPT = 256
_RECIPIENTS = ("to.number", "to.id")


class _Message(NamedTuple):
    """One message of the template, and its texts with fields."""

    step: Step
    texts: Texts


class WorkflowTemplate:
    """Makes the workflow of each row.

    Example:
        WorkflowTemplate(
            whatsapp.template("ns:spring", ["{name}"], from_="447418342140", to="{phone}", locale="en").until(
                "read", within=600
            ),
            {
                "en": sms.text("Hello {name|there}", from_="31647356950", to="{phone}"),
                "nl": sms.text("Hallo {name|daar}", from_="31647356950", to="{phone}"),
            },
            default_language="en",
        )

    Args:
        messages: One step per channel, in order, or steps by language. Every step may have a condition; that
            of a row's last step is omitted.
        default_language: Language of rows without a language, or with a language without a message.
        variants: Templates of variants that differ from this template, by name.
        rules: The rules that every workflow must pass.

    Raises:
        ConfigurationError: A brace is unbalanced, a channel is repeated, or the recipient is not one field.
        InvalidWorkflowError: A message breaks a rule for every row.
    """

    def __init__(
        self,
        *messages: Step | Mapping[str, Step],
        default_language: str = "",
        variants: Mapping[str, WorkflowTemplate] | None = None,
        rules: Rules = DEFAULT_RULES,
    ) -> None:
        if not messages:
            raise ConfigurationError("a WorkflowTemplate needs at least one message, such as sms.text(…)")
        self._rules = rules
        self._default = _language(default_language)
        self._variants = dict(variants or {})
        self._messages: dict[str, dict[str, _Message]] = {}
        for number, entry in enumerate(messages, 1):
            channel, by_language = _read(entry, number)
            if channel in self._messages:
                raise ConfigurationError(f"message {number}: the channel {channel} comes twice; one will do")
            self._messages[channel] = by_language
        self._order = tuple(self._messages)
        self._few = self._fields_of_few_values()
        #: Warnings about the messages that apply to every row.
        self.findings: tuple[Finding, ...] = ()
        self._compiled: dict[tuple[object, ...], tuple[CompiledWorkflow, Route] | RowError] = {}
        self._check()

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<WorkflowTemplate {', '.join(self._order)}>"

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels, in the order of the template."""
        return self._order

    @property
    def languages(self) -> frozenset[str]:
        """The languages with messages."""
        return frozenset(language for each in self._messages.values() for language in each if language)

    @property
    def fields(self) -> frozenset[str]:
        """The names of all fields, including those of the variants."""
        own = {field.name for field in self._fields()}
        return frozenset(own.union(*(variant.fields for variant in self._variants.values())))

    @property
    def required(self) -> frozenset[str]:
        """The names of the fields without a default."""
        own = {field.name for field in self._fields() if field.default is None}
        return frozenset(own.union(*(variant.required for variant in self._variants.values())))

    @property
    def numbers(self) -> frozenset[str]:
        """The names of the fields that hold telephone numbers of recipients."""
        own = {
            cast("Field", message.texts[place][0]).name
            for channel, by_language in self._messages.items()
            if SPECS[channel].recipient_is_phone
            for message in by_language.values()
            for place in _RECIPIENTS
            if place in message.texts
        }
        return frozenset(own.union(*(variant.numbers for variant in self._variants.values())))

    @property
    def fingerprint(self) -> str:
        """A hash of the whole template, equal in every process."""
        parts: list[object] = [self._default, sorted(self.rules_that_differ())]
        for channel, by_language in self._messages.items():
            parts += [[channel, language, m.step.to_json()] for language, m in sorted(by_language.items())]
        parts += [[name, variant.fingerprint] for name, variant in sorted(self._variants.items())]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    def rules_that_differ(self) -> list[str]:
        """Return the differences of `rules` from the defaults, as text."""
        return [] if self._rules is DEFAULT_RULES else [repr(self._rules)]

    def render(self, row: TemplateRow, client_ref: str | None = None) -> RenderedWorkflow:
        """Return the row's workflow as JSON, checked: `workflow(row).to_json()`, byte for byte.

        Args:
            row: A `Recipient`, a `Claimed` or a `Row`.
            client_ref: Reference of every step without one.

        Raises:
            RowError: A field is missing, or the workflow breaks a rule.
        """
        if self._variants and (variant := self._variants.get(row.variant)) is not None:
            return variant.render(row, client_ref)
        return self._found(row)[0].render(row.fields, client_ref)

    def workflow(self, row: TemplateRow, client_ref: str | None = None) -> Workflow:
        """Return the row's workflow as a `Workflow`, without a check.

        Raises:
            RowError: A field is missing.
        """
        if (variant := self._variants.get(row.variant)) is not None:
            return variant.workflow(row, client_ref)
        return self._found(row)[0].workflow(row.fields, client_ref)

    def route(self, row: TemplateRow) -> Route:
        """Return channel, sender and recipient of the row's first step.

        Raises:
            RowError: The row names a channel or a language without a message.
        """
        if (variant := self._variants.get(row.variant)) is not None:
            return variant.route(row)
        return self._found(row)[1]

    def _found(self, row: TemplateRow) -> tuple[CompiledWorkflow, Route]:
        key: tuple[object, ...]
        if self._few:
            fields = row.fields
            key = (row.channels, row.language, *[fields.get(field.name) for field in self._few])
        else:
            key = (row.channels, row.language)
        found = self._compiled.get(key)
        if found is None:
            if len(self._compiled) >= _KEPT:
                # In one step: an intake may compile in a thread while a sender does so in the loop.
                self._compiled.pop(list(self._compiled)[0], None)  # noqa: RUF015 - an iterator would see it change
            try:
                found = self._compile(row.channels or self._order, row.language, row.fields)
            except InvalidWorkflowError as error:
                finding = error.findings[0]
                found = row_error(finding, self._field_behind(finding, row))
            except RowError as error:
                found = error
            self._compiled[key] = found
        if isinstance(found, RowError):
            # A new instance: an exception that is raised repeatedly would accumulate tracebacks.
            raise RowError(found.field, found.rule, found.advice)
        return found

    def _compile(
        self, channels: tuple[str, ...], language: str, fields: Mapping[str, str]
    ) -> tuple[CompiledWorkflow, Route]:
        steps: list[Step] = []
        texts: list[Texts] = []
        for number, channel in enumerate(channels, 1):
            step, own = self._message(channel, language)
            if channel in channels[: number - 1]:
                raise RowError("", "channel", f"names {channel} twice; once is enough")
            if number == len(channels):
                step = msgspec.structs.replace(step, failover=UNSET)
            elif step.failover is UNSET:
                advice = f"the {channel} message has no condition, so it can only be last; give it .until(…)"
                raise RowError("", "failover-missing", advice)
            steps.append(step)
            texts.append(_settled(own, fields))
        compiled = CompiledWorkflow(steps, texts, self._rules)
        return compiled, _route(steps[0], texts)

    def _message(self, channel: str, language: str) -> _Message:
        by_language = self._messages.get(channel)
        if by_language is None:
            advice = f"has a channel that the template has no message for; it has {', '.join(self._order)}"
            raise RowError("", "channel", advice)
        tag = _language(language)
        for name in (tag, tag.partition("-")[0], self._default, ""):
            if name in by_language:
                return by_language[name]
        known = ", ".join(sorted(by_language))
        problem = "names no language" if not tag else "names a language without a message"
        advice = f"{problem}; the {channel} message is in {known}, and default_language names none of them"
        raise RowError("", "language", advice)

    def _field_behind(self, finding: Finding, row: TemplateRow) -> str:
        """Return the name of the field in the place of a finding; `""` without a field."""
        if finding.step is None:
            return ""
        channels = row.channels or self._order
        pieces = self._message(channels[finding.step - 1], row.language).texts.get(finding.field, ())
        return next((piece.name for piece in pieces if isinstance(piece, Field)), "")

    def _fields(self) -> list[Field]:
        return [
            piece
            for by_language in self._messages.values()
            for message in by_language.values()
            for pieces in message.texts.values()
            for piece in pieces
            if isinstance(piece, Field)
        ]

    def _fields_of_few_values(self) -> tuple[Field, ...]:
        """Return the fields whose values decide which rules apply: senders, template names, locales."""
        few = {
            piece: None
            for by_language in self._messages.values()
            for message in by_language.values()
            for place, pieces in message.texts.items()
            if not _is_free(place)
            for piece in pieces
            if isinstance(piece, Field)
        }
        return tuple(few)

    def _check(self) -> None:
        """Compile the default workflow in every language."""
        languages = set(self.languages)
        if self._default or not languages:
            languages.add(self._default)
        example = {field.name: "447418342140" for field in self._few}
        warnings: dict[Finding, None] = {}
        for language in sorted(languages):
            try:
                compiled = self._compile(self._order, language, example)
            except RowError as error:
                raise ConfigurationError(f"the template cannot be used in its own order: {error}") from None
            except InvalidWorkflowError as error:
                # Values of rows are checked with each row.
                places = (
                    "from.",
                    ".name",
                    "message.viber_service_msg",
                    "message.messenger",
                    "message.whatsapp",
                )
                if found := [
                    f for f in error.findings if not (self._few and any(p in f.field for p in places))
                ]:
                    raise InvalidWorkflowError(found) from None
            else:
                warnings.update(dict.fromkeys(compiled[0].findings))
                if not self._few:
                    self._compiled[(), language] = compiled
        for variant in self._variants.values():
            warnings.update(dict.fromkeys(variant.findings))
        self.findings = tuple(warnings)


class FunctionTemplate:
    """Makes the workflow of each row with a function of the caller: `lambda row: Workflow.failover(…)`.

    Args:
        function: Takes the row, with `fields`, `channels`, `language` and `variant`; returns a `Workflow`.
        numbers: Names of the fields with telephone numbers of recipients, which are normalised.
        rules: The rules that every workflow must pass.
    """

    def __init__(
        self,
        function: Callable[[TemplateRow], Workflow],
        *,
        numbers: frozenset[str] = frozenset(),
        rules: Rules = DEFAULT_RULES,
    ) -> None:
        self._function = function
        self._rules = rules
        # An intake needs the route and the workflow of the same row.
        self._last: tuple[TemplateRow, Workflow] | None = None
        self.numbers: frozenset[str] = frozenset(numbers)
        self.fields: frozenset[str] | None = None
        self.findings: tuple[Finding, ...] = ()
        self.required: frozenset[str] = self.numbers

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<FunctionTemplate {getattr(self._function, '__qualname__', '')}>"

    @property
    def fingerprint(self) -> str:
        """A hash of the function's name; a plan also hashes the workflows."""
        name = f"{getattr(self._function, '__module__', '')}.{getattr(self._function, '__qualname__', '')}"
        return hashlib.sha256(name.encode()).hexdigest()

    def render(self, row: TemplateRow, client_ref: str | None = None) -> RenderedWorkflow:
        """Return the function's workflow for a row, checked.

        Raises:
            RowError: The function raised, returned no workflow, or one that breaks a rule.
        """
        workflow = self.workflow(row, client_ref)
        try:
            workflow.check(self._rules)
        except InvalidWorkflowError as error:
            raise row_error(error.findings[0]) from None
        channels = tuple(step.channel for step in workflow.steps)
        return RenderedWorkflow(workflow.to_json(), channels, workflow.client_refs)

    def workflow(self, row: TemplateRow, client_ref: str | None = None) -> Workflow:
        """Return the function's workflow for a row.

        Raises:
            RowError: The function raised, or returned no workflow.
        """
        last = self._last
        if last is not None and last[0] is row:
            workflow = last[1]
        else:
            workflow = self._made(row)
            self._last = row, workflow
        return workflow if client_ref is None else workflow.with_client_ref(client_ref)

    def _made(self, row: TemplateRow) -> Workflow:
        try:
            workflow = cast("object", self._function(row))
        except RowError:
            raise
        except KeyError as error:
            # The name of a column is no personal data; other missing keys might be.
            name = error.args[0] if error.args and isinstance(error.args[0], str) else ""
            if name and name not in row.fields and name.isidentifier():
                raise RowError(name, "field-missing", "is no column of this row") from None
            raise RowError("", "function", _raised(error)) from None
        except Exception as error:  # noqa: BLE001 - a function of the caller's may raise anything
            raise RowError("", "function", _raised(error)) from None
        if not isinstance(workflow, Workflow):
            advice = f"the function returned a {type(workflow).__name__}; return a Workflow"
            raise RowError("", "function", advice)
        return workflow

    def route(self, row: TemplateRow) -> Route:
        """Return where the row's first step goes.

        Raises:
            RowError: The function raised, or returned no workflow.
        """
        workflow = self.workflow(row)
        if not workflow.steps:
            raise RowError("", "steps", "the workflow has no step; add at least one")
        step = workflow.steps[0]
        address, *later = dict.fromkeys(_recipient(each) for each in workflow.steps)
        return Route(step.channel, _sender(step), "", address, tuple(later))


def _raised(error: Exception) -> str:
    """Return the place of an exception, without its message, which may contain personal data."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at line {frames[-1].lineno} of {frames[-1].name}" if frames else ""
    return f"the function raised {type(error).__name__}{where}"


def _read(entry: Step | Mapping[str, Step], number: int) -> tuple[str, dict[str, _Message]]:
    """Return the channel of a message and its steps by language."""
    steps: dict[str, object] = dict(entry) if isinstance(entry, Mapping) else {"": entry}
    if not steps:
        raise ConfigurationError(f"message {number} has no language; write {{'en': sms.text(…)}}")
    found: dict[str, _Message] = {}
    channels: set[str] = set()
    for language, step in steps.items():
        where = f"message {number}" + (f", {language}" if language else "")
        if not isinstance(step, Step) or step.channel not in SPECS:
            raise ConfigurationError(f"{where} must be a step of a known channel, such as sms.text(…)")
        texts = texts_of(step, where)
        _check_recipient(texts, where)
        channels.add(step.channel)
        if _language(language) in found:
            raise ConfigurationError(f"{where}: the language comes twice; one message will do")
        found[_language(language)] = _Message(step, texts)
    if len(channels) > 1:
        raise ConfigurationError(f"message {number}: all languages must be on one channel")
    return channels.pop(), found


def _check_recipient(texts: Texts, where: str) -> None:
    pieces = next((texts[place] for place in _RECIPIENTS if place in texts), ())
    if len(pieces) != 1 or not isinstance(pieces[0], Field) or pieces[0].default is not None:
        raise ConfigurationError(
            f"{where}: the recipient must be one field and nothing else, for example to='{{phone}}'; "
            "otherwise every row would go to the same person"
        )


def _language(name: str) -> str:
    return name.strip().replace("_", "-").lower()


def _is_free(place: str) -> bool:
    return place.endswith(_FREE) or place.startswith(_FREE_BELOW) or ".extra." in place


def _settled(texts: Texts, fields: Mapping[str, str]) -> Texts:
    """Return the texts with the values of a row in the places with few values."""
    return {
        place: pieces
        if _is_free(place)
        else (
            tidy(
                place,
                "".join(piece if isinstance(piece, str) else value_of(fields, *piece) for piece in pieces),
            ),
        )
        for place, pieces in texts.items()
    }


def _route(step: Step, texts: Sequence[Texts]) -> Route:
    """Return where the first step goes, whose fields are in the first of *texts*, and the others."""
    first = texts[0]
    sender = next((cast("str", first[place][0]) for place in SENDERS if place in first), None)
    field, *later = dict.fromkeys(
        next(cast("Field", each[place][0]).name for place in _RECIPIENTS if place in each) for each in texts
    )
    return Route(step.channel, _sender(step) if sender is None else sender, field, "", tuple(later))


def _recipient(step: Step) -> str:
    return str(step.to.number if step.to.number is not UNSET else step.to.id)


def _sender(step: Step) -> str:
    return str(step.from_.number if step.from_.number is not UNSET else step.from_.id)
