"""The transport of requests: calls, their attempts, and the outcome of a call when an attempt fails."""
