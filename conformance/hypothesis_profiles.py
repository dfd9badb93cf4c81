"""How many examples the properties get, and which: `conformance`, or as `--hypothesis-profile=long` asks."""

from typing import Any

from hypothesis import HealthCheck, Phase, settings

CONFORMANCE = "conformance"
LONG = "long"

_SHARED: dict[str, Any] = {
    # An example is one or more real attention calls: no verdict on how fast the machine makes them.
    "deadline": None,
    # One failure is one row of the report, with the smallest example of one fault.
    "report_multiple_bugs": False,
    "suppress_health_check": (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example),
    # Which lines of ours ran says nothing about a kernel.
    "phases": [phase for phase in Phase if phase is not Phase.explain],
}


def register() -> None:
    """Register both profiles and load `conformance`; to be called before hypothesis reads its command line options."""
    settings.register_profile(CONFORMANCE, max_examples=25, derandomize=True, database=None, **_SHARED)
    settings.register_profile(LONG, max_examples=20_000, derandomize=False, print_blob=True, **_SHARED)
    settings.load_profile(CONFORMANCE)
