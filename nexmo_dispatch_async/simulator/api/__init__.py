"""The HTTP face of the simulated service: the gateway, the calls behind it, and the server."""
