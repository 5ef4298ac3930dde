"""Bounded concurrency: the iterator over results, the outcomes of `send_many()`, and its brake."""

from nexmo_dispatch_async.fan_out.brake import Brake
from nexmo_dispatch_async.fan_out.fan_out import (
    FanOut,
    FanOutStatistics,
    NotSent,
    Refused,
    SendOutcome,
    Sent,
    Unknown,
)

__all__ = ["Brake", "FanOut", "FanOutStatistics", "NotSent", "Refused", "SendOutcome", "Sent", "Unknown"]
