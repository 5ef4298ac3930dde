"""Numbers in the rows of a campaign: as everywhere, with the errors of a row."""

from __future__ import annotations

from nexmo_dispatch_async.bulk.rejects import RowError
from nexmo_dispatch_async.phone_numbers import NumberNormalizer, PhoneNumberError
from nexmo_dispatch_async.phone_numbers.normalizer import NO_NUMBER

__all__ = ["NO_NUMBER", "RowNumbers"]


class RowNumbers(NumberNormalizer):
    """Reads the numbers of rows; see `NumberNormalizer`."""

    def __call__(self, value: str, *, field: str = "number") -> str:
        """Return the digits of a number in E.164, or a user id unchanged.

        Args:
            value: Number or user id, as written in the source.
            field: Name of the field, for the error.

        Raises:
            RowError: The value is no number or is ambiguous; the text never contains the value.
        """
        try:
            return super().__call__(value, field=field)
        except PhoneNumberError as error:
            raise RowError(error.field, error.rule, error.advice) from None
