"""Failures that others reported: one test a row of `matrix/regressions.toml`."""

import pytest

from conformance.plugin.hooks import SETTINGS
from conformance.plugin.rows import FINDING, Finding
from conformance.regressions import try_again
from matrix.regressions import load_regressions
from matrix.rows import RowOutcome

REGRESSIONS = load_regressions()


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regression(name: str, request: pytest.FixtureRequest) -> None:
    """What was reported does not happen here and now."""
    regression = REGRESSIONS[name]
    unreachable = regression.why_unreachable(request.config.stash[SETTINGS].stack)
    if unreachable:
        pytest.skip(unreachable)
    refused = try_again(regression, request.getfixturevalue("lab"))
    if refused:
        request.node.stash[FINDING] = Finding(RowOutcome.HOLDS, refused)
