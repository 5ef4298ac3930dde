"""Reads signatures and annotations of the application's functions, also with names that do not resolve.

From Python 3.14 on annotations are evaluated when they are read, so a name that only type checkers import
raises `NameError` there; such a name stays a reference here. It decides nothing about what it reads.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["annotations_of", "signature_of"]

if sys.version_info >= (3, 14):
    from annotationlib import Format, get_annotations

    def signature_of(function: Callable[..., Any], *, follow_wrapped: bool = True) -> inspect.Signature:
        """Return the signature, with references for names that do not resolve at run time.

        Raises:
            TypeError: *function* cannot be called.
            ValueError: It tells no signature, as some callables that are made in C.
        """
        return inspect.signature(function, follow_wrapped=follow_wrapped, annotation_format=Format.FORWARDREF)

    def annotations_of(function: Callable[..., Any]) -> Mapping[str, Any]:
        """Return the annotations by name, with references for names that do not resolve at run time."""
        return get_annotations(function, format=Format.FORWARDREF)

else:

    def signature_of(function: Callable[..., Any], *, follow_wrapped: bool = True) -> inspect.Signature:
        """Return the signature.

        Raises:
            TypeError: *function* cannot be called.
            ValueError: It tells no signature, as some callables that are made in C.
        """
        return inspect.signature(function, follow_wrapped=follow_wrapped)

    def annotations_of(function: Callable[..., Any]) -> Mapping[str, Any]:
        """Return the annotations by name."""
        return getattr(function, "__annotations__", {})
