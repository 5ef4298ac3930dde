"""Builders of workflow steps: `sms`, `mms`, `whatsapp`, `viber` and `messenger`, and `reply` for any of them.

They set fields and trim addresses without validation, so that `Workflow.lint()` can report all problems of a
workflow at once. The contents of each channel are in contract 3.4.1.
"""

from nexmo_dispatch_async.channels import messenger, mms, reply, sms, viber, whatsapp

__all__ = ["messenger", "mms", "reply", "sms", "viber", "whatsapp"]
