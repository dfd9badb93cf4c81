"""What eager attention itself computes: one test an architecture of the plan, and never a wrong answer.

A release cannot be held against itself; `python -m reports eager BEFORE AFTER` holds what two of them computed side by
side.
"""

import pytest

from conformance.plugin.hooks import SETTINGS
from conformance.plugin.rows import FINDING, Finding
from matrix.rows import RowOutcome


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The architectures are the plan's."""
    plan = metafunc.config.stash[SETTINGS].plan
    metafunc.parametrize("name", list(dict.fromkeys(cell.architecture for cell in plan)))


def test_eager(name: str, request: pytest.FixtureRequest) -> None:
    """What eager attention computes of the fixture in float32 on a CPU."""
    settings = request.config.stash[SETTINGS]
    architecture, fixture = settings.architectures[name], settings.fixtures.get(name)
    if name in settings.checkpoints:
        pytest.skip("a checkpoint of the user's: its cells say what it computes")
    if settings.fixtures and fixture is None:
        pytest.skip("the run of --fixtures-of computed nothing of it")
    if architecture.unbuilt and fixture is None:
        pytest.skip(architecture.unbuilt)
    from conformance.eager import NotHere, watch  # torch comes in here

    try:
        trace = watch(architecture, settings.fixture_cache, settings.seed, fixture)
    except NotHere as absent:
        pytest.skip(str(absent))
    failed = next((f"{step}: {words}" for step, words in trace.failures.items()), "")
    outcome = RowOutcome.VIOLATED if failed else RowOutcome.HOLDS
    request.node.stash[FINDING] = Finding(outcome, failed, eager=trace)
