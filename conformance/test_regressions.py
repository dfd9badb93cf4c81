"""Failures that others reported: one test a row of `matrix/regressions.toml`."""

from typing import TYPE_CHECKING

import pytest

from conformance.plugin.hooks import SETTINGS
from conformance.regressions import try_again
from matrix.regressions import load_regressions

if TYPE_CHECKING:
    from conformance.regressions.lab import Lab

REGRESSIONS = load_regressions()


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> "Lab":
    """The laboratory of this session. Made with the first row that is reachable; torch comes in here."""
    from conformance.regressions.lab import Lab

    settings = request.config.stash[SETTINGS]
    return Lab(settings.stack, settings.fixture_cache, settings.architectures)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regression(name: str, request: pytest.FixtureRequest) -> None:
    """What was reported does not happen here and now."""
    regression = REGRESSIONS[name]
    unreachable = regression.why_unreachable(request.config.stash[SETTINGS].stack)
    if unreachable:
        pytest.skip(unreachable)
    try_again(regression, request.getfixturevalue("lab"))
