"""Async client for the Dispatch API: say what to send, send it once, follow it."""

from nexmo_dispatch_async._version import __version__ as __version__
