"""The help of every command, in one form: usage, what it does, arguments, options, examples.

The pages are plain text of at most 80 columns, in which nothing is cut. The names of values are capitals
that say what they mean (`--port PORT`), never types.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

from nexmo_dispatch_async.cli.examples import EXAMPLES

__all__ = ["Command", "Commands", "Group", "value_name", "why_no_text"]

#: The widest page; a narrower terminal gets a narrower one.
_WIDEST: Final = 80
#: Columns of the names of options; a longer name has a line of its own.
_NAMES: Final = 24

# typer carries its own copy of click, whose types have moved between its versions: hence Any in this module
_Row = tuple[str, str]


class Command(TyperCommand):
    """A command with such a page."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the usage, which the page and each message of a mistake begin with."""
        return _usage(self, ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; a message has no words of the library that checks the values.

        Raises:
            typer.BadParameter: A value is wrong.
        """
        values, _, _ = self.make_parser(ctx).parse_args(list(args))
        parameters: list[Any] = self.get_params(ctx)
        for parameter in parameters:
            value: object = values.get(parameter.name)
            texts = cast("Iterable[object]", value) if isinstance(value, list | tuple) else (value,)
            for text in texts:
                if isinstance(text, str) and (why := why_no_text(text)):
                    raise typer.BadParameter(why, ctx=ctx, param=parameter)
        try:
            parsed: list[str] = super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise
        return parsed

    def get_help(self, ctx: Any) -> str:
        """Return the page."""
        return _page(self, ctx)


class Group(TyperGroup):
    """A group of commands with such a page."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the usage, which the page and each message of a mistake begin with."""
        return [*_usage(self, ctx), "COMMAND [ARGS]..."]

    def get_help(self, ctx: Any) -> str:
        """Return the page."""
        return _page(self, ctx, self.commands)


class Commands(typer.Typer):
    """Commands whose pages have this form, which `-h` shows as well.

    Args:
        text: What the group is for.
        completion: Whether it has the options that install the completion of a shell.
    """

    def __init__(self, text: str, *, completion: bool = False) -> None:
        super().__init__(
            help=text,
            cls=Group,
            no_args_is_help=True,
            add_completion=completion,
            context_settings={"help_option_names": ["-h", "--help"]},
            rich_markup_mode=None,  # the panels of rich cut what is too long
            pretty_exceptions_enable=False,  # `screen.report` prints them, escaped and without locals
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[..., Any]:
        """Register a command."""
        return super().command(name, cls=Command, **settings)


def why_no_text(text: str) -> str:
    """Return why no command can use a text of the command line or of a variable; `""` if one can.

    No file, database or service takes either; and Python reads bytes that are no UTF-8 as lone surrogates.
    """
    if "\0" in text:
        return "contains a NUL character: leave it out"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "contains bytes that are no UTF-8: check the spelling, and the encoding of the terminal"
    return ""


def value_name(parameter: Any) -> str:
    """Return how the value of an option or an argument is called; `""` for a switch."""
    if getattr(parameter, "is_flag", False):
        return ""
    if parameter.metavar:
        return str(parameter.metavar)
    name = str(parameter.name).strip("_").upper().replace("_", "-")
    return name if parameter.required or parameter.param_type_name == "option" else f"[{name}]"


def _page(command: Any, context: Any, commands: Mapping[str, Any] | None = None) -> str:
    width = max(40, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns))
    parameters = [each for each in command.get_params(context) if not getattr(each, "hidden", False)]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    options = [each for each in parameters if each.param_type_name == "option"]
    words = command.collect_usage_pieces(context)
    blocks = [
        textwrap.wrap(f"Usage: {context.command_path} {' '.join(words)}", width, subsequent_indent="  "),
        *(textwrap.wrap(each, width) for each in _paragraphs(command.help or "")),
    ]
    named = [(value_name(each), _about(each)) for each in arguments]
    listed = [(_option_names(each), _about(each)) for each in options]
    below = [(name, _first_sentence(each.help or "")) for name, each in (commands or {}).items()]
    for title, rows in (("Arguments", named), ("Options", listed), ("Commands", below)):
        if rows:
            blocks.append([f"{title}:", *_table(rows, width)])
    if examples := EXAMPLES.get(context.command_path, ()):
        blocks.append(["Examples:", *(f"  {each}" for each in examples)])
    return "\n\n".join("\n".join(block) for block in blocks)


def _usage(command: Any, context: Any) -> list[str]:
    names = [value_name(each) for each in command.get_params(context) if each.param_type_name == "argument"]
    return ["[OPTIONS]", *names]


def _paragraphs(text: str) -> list[str]:
    return [" ".join(each.split()) for each in text.split("\n\n") if each.strip()]


def _first_sentence(text: str) -> str:
    first = next(iter(_paragraphs(text)), "")
    return first.partition(". ")[0].removesuffix(".")


def _option_names(option: Any) -> str:
    names = sorted(option.opts, key=len)
    return " ".join(filter(None, [", ".join(names), value_name(option)]))


def _about(parameter: Any) -> str:
    """Return the help of a parameter, with what a caller has to know besides."""
    facts: list[str] = []
    if parameter.envvar:
        facts.append(f"variable: {parameter.envvar}")
    if rule := _range(parameter):
        facts.append(rule)
    default = parameter.default
    if parameter.show_default and isinstance(default, str | int | float) and default not in ("", False):
        facts.append(f"default: {default:g}" if isinstance(default, float) else f"default: {default}")
    if parameter.required and parameter.param_type_name == "option":
        facts.append("required")
    text: str = parameter.help or ""
    return f"{text} [{'; '.join(facts)}]".strip() if facts else text


def _range(parameter: Any) -> str:
    """Return the range of a number; the older typer has it in its type."""
    holder = getattr(parameter, "type", parameter)
    least, most = getattr(holder, "min", None), getattr(holder, "max", None)
    if least is None:
        return ""
    # a limit of a database or a format needs no words
    return f"{least:g} to {most:,}" if most is not None and most < 1 << 31 else f"at least {least:g}"


def _table(rows: Sequence[_Row], width: int) -> Iterable[str]:
    """Yield the lines of two columns; a name that is too long has a line of its own."""
    column = min(_NAMES, max(len(name) for name, _ in rows) + 2)
    for name, text in rows:
        lines = textwrap.wrap(text, width - column - 2) or [""]
        if len(name) > column - 2:
            yield f"  {name}"
        else:
            yield f"  {name:<{column}}{lines.pop(0)}".rstrip()
        for line in lines:
            yield f"  {'':<{column}}{line}"
