"""Campaigns: durable bulk sending, one ledger row per recipient, no recipient messaged twice."""
