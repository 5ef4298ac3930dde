"""Builders of workflow steps, one module per channel: `sms`, `mms`, `whatsapp`, `viber`, `messenger`.

They put values in their places and trim addresses; they judge nothing, so that `Workflow.lint()` can name all
problems of a workflow at once. Which channel carries which content is contract 3.4.1.
"""

from nexmo_dispatch_async.channels import messenger, mms, sms, viber, whatsapp

__all__ = ["messenger", "mms", "sms", "viber", "whatsapp"]
