"""Workflows with fields, compiled once and rendered for each row."""
