"""Template texts with `{{1}}`, `{{2}}`, … filled in (contract 7.1).

It does not know which templates exist; the texts come from the caller.
"""

import re
from collections.abc import Sequence

from nexmo_dispatch_async.models.several import in_order

__all__ = ["parameter_count", "render"]

# Four digits are far beyond any real template and keep int() away from endless digit strings.
_PLACEHOLDER = re.compile(r"\{\{([0-9]{1,4})\}\}")


def parameter_count(text: str) -> int:
    """How many parameters a template text takes: its highest placeholder.

    Example:
        parameter_count("{{1}} code: {{2}}. Valid for {{3}} minutes.") == 3
    """
    return max((int(number) for number in _PLACEHOLDER.findall(text)), default=0)


def render(text: str, parameters: Sequence[str]) -> str:
    """The text as the recipient reads it.

    Inserted texts are not searched for placeholders again, and a placeholder without a parameter stays.

    Args:
        text: The approved template text.
        parameters: The first fills `{{1}}`, the second `{{2}}`, ….

    Raises:
        ConfigurationError: The parameters are no list, tuple or other sequence.
    """
    values: list[str] = in_order("parameters", parameters)

    def fill(match: re.Match[str]) -> str:
        index = int(match[1]) - 1
        return values[index] if 0 <= index < len(values) else match[0]

    return _PLACEHOLDER.sub(fill, text)
