"""Tests of phone numbers."""
