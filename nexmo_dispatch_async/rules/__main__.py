"""Prints the table of rules for docs/rules.md.

It does nothing else.
"""

from nexmo_dispatch_async.rules.registry import markdown

print(markdown(), end="")
