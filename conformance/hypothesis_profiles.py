"""How many examples the properties get, and which: `conformance`, or as `--hypothesis-profile=long` asks."""

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture.providers import HypothesisProvider

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


def _no_constant(*_: Any, **__: Any) -> None:
    """Instead of a number that stands somewhere in the code that this process has imported so far."""


def register() -> None:
    """Register both profiles and load `conformance`; to be called before hypothesis reads its command line options.

    Since 6.131 hypothesis draws one value in twenty from the constants of whatever local modules are loaded: other
    examples in each worker, and after each edit of any file. It has no setting for it.
    """
    HypothesisProvider._maybe_draw_constant = _no_constant  # type: ignore[method-assign]
    settings.register_profile(CONFORMANCE, max_examples=25, derandomize=True, database=None, **_SHARED)
    settings.register_profile(LONG, max_examples=20_000, derandomize=False, print_blob=True, **_SHARED)
    settings.load_profile(CONFORMANCE)
