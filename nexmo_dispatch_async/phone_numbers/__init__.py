"""Phone numbers in any spelling, read alike by the builders, a care window and campaigns."""

from nexmo_dispatch_async.phone_numbers.normalizer import NumberNormalizer, PhoneNumberError

__all__ = ["NumberNormalizer", "PhoneNumberError"]
