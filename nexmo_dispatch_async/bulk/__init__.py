"""Campaigns: durable bulk sending, one ledger row per recipient, no recipient messaged twice."""

from nexmo_dispatch_async.bulk.campaign import Campaign, shared_governor
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.records import Cap
from nexmo_dispatch_async.bulk.progress import Status, Wait
from nexmo_dispatch_async.bulk.sending.governor import Governor
from nexmo_dispatch_async.bulk.sending.paced_sends import PacedSends
from nexmo_dispatch_async.bulk.settings import AbortIf, Canary, Columns, Pace, QuietHours, Rate, Variants
from nexmo_dispatch_async.bulk.templates.template import FunctionTemplate, WorkflowTemplate

__all__ = [
    "AbortIf",
    "Campaign",
    "Canary",
    "Cap",
    "Columns",
    "FunctionTemplate",
    "Governor",
    "MemoryLedger",
    "OptOutList",
    "Pace",
    "PacedSends",
    "QuietHours",
    "Rate",
    "Status",
    "Variants",
    "Wait",
    "WorkflowTemplate",
    "shared_governor",
]
