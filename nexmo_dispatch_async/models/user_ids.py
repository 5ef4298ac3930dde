"""WhatsApp user ids, the addresses of people who hide their number (contract 5.5).

The receiver has the same pattern for itself; a test compares the two.
"""

import re

__all__ = ["is_user_id"]

# Two letters of a country, a dot, letters and digits; the id of a business group has a further part.
_USER_ID = re.compile(r"[A-Za-z]{2}(?:\.[A-Za-z0-9]+)+", re.ASCII)


def is_user_id(value: object) -> bool:
    """Return whether a value has the form of a WhatsApp user id, such as `NL.13491208655302741918`."""
    return isinstance(value, str) and value[2:3] == "." and _USER_ID.fullmatch(value) is not None
