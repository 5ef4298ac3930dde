"""Callbacks of the simulated service: their bodies, their signatures, their way to the receiver."""
