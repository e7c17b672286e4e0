"""Properties are checked on the same examples each time, and no test fails because a machine is slow."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "wkflow", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("wkflow")
