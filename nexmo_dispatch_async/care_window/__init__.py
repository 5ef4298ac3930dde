"""The Customer Care Window: may free content be sent to a customer now, and until when?

`care_window.sqlite` has a store in an SQLite file, which is imported by the programs that use it only.
"""

from nexmo_dispatch_async.care_window.store import MemoryWindowStore, WindowStore
from nexmo_dispatch_async.care_window.window import CareWindow, Inbound, WindowStatus

__all__ = ["CareWindow", "Inbound", "MemoryWindowStore", "WindowStatus", "WindowStore"]
