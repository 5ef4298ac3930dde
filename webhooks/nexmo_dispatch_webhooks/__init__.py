"""Receiver toolkit for the callbacks of the Dispatch API; usable without the SDK package."""
