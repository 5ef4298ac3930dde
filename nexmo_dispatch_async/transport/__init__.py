"""Carries requests to the service: calls, their attempts, and what is known of them when something fails."""
