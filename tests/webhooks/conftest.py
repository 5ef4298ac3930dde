"""Settings of the receiver's tests: a busy machine is no reason for a property to fail."""

from hypothesis import HealthCheck, settings

settings.register_profile("receiver", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("receiver")
