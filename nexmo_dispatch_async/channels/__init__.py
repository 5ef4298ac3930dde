"""Builders of workflow steps, one module per channel: `sms`, `mms`, `whatsapp`, `viber`, `messenger`.

They set fields and trim addresses without validation, so that `Workflow.lint()` can report all problems of a
workflow at once. The contents of each channel are in contract 3.4.1.
"""

from nexmo_dispatch_async.channels import messenger, mms, sms, viber, whatsapp

__all__ = ["messenger", "mms", "sms", "viber", "whatsapp"]
