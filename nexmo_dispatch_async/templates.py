"""Fills in the placeholders `{{1}}`, `{{2}}`, … of template texts (contract 7.1).

The module contains no templates; the texts come from the caller.
"""

import re
from collections.abc import Sequence

from nexmo_dispatch_async.models.several import in_order

__all__ = ["parameter_count", "render"]

# Four digits are more than any template needs, and bound the input of int().
_PLACEHOLDER = re.compile(r"\{\{([0-9]{1,4})\}\}")


def parameter_count(text: str) -> int:
    """Return the number of parameters of a template text, which is its highest placeholder.

    Args:
        text: The template text.

    Example:
        parameter_count("{{1}} code: {{2}}. Valid for {{3}} minutes.") == 3
    """
    return max((int(number) for number in _PLACEHOLDER.findall(text)), default=0)


def render(text: str, parameters: Sequence[str]) -> str:
    """Return the text that the recipient reads.

    Placeholders in a parameter are not filled in, and a placeholder without a parameter stays.

    Args:
        text: The approved template text.
        parameters: Texts for `{{1}}`, `{{2}}`, … in this order.

    Raises:
        ConfigurationError: The parameters are no list, tuple or other sequence.
    """
    values: list[str] = in_order("parameters", parameters)

    def fill(match: re.Match[str]) -> str:
        index = int(match[1]) - 1
        return values[index] if 0 <= index < len(values) else match[0]

    return _PLACEHOLDER.sub(fill, text)
