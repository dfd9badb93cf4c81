"""How many examples the properties get, and which: `conformance`, or as `--hypothesis-profile=long` asks."""

from hypothesis import HealthCheck, settings

CONFORMANCE = "conformance"
LONG = "long"

# An example is one or more real attention calls: slow to make and to judge, and no verdict on the machine.
_SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)


def register() -> None:
    """Register both profiles and load `conformance`; to be called before hypothesis reads its command line options."""
    settings.register_profile(
        CONFORMANCE, max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=_SLOW
    )
    settings.register_profile(
        LONG, max_examples=20_000, derandomize=False, deadline=None, print_blob=True, suppress_health_check=_SLOW
    )
    settings.load_profile(CONFORMANCE)
