"""What the guide says of speed, memory and quality, measured: one test a claim."""

from typing import TYPE_CHECKING

import pytest

from conformance.plugin.hooks import BENCHMARK, SETTINGS
from conformance.plugin.rows import FINDING, Finding
from conformance.plugin.workers import is_worker
from matrix.claims import CLAIMS

if TYPE_CHECKING:
    from conformance.claims.measure import Measurements


@pytest.fixture(scope="session")
def measurements(request: pytest.FixtureRequest) -> "Measurements":
    """What the claims of this session share. Made with the first that can be measured; torch comes in here."""
    from conformance.claims.measure import Measurements

    settings = request.config.stash[SETTINGS]
    return Measurements(settings.stack, settings.fixture_cache, settings.architectures)


@pytest.mark.benchmark
@pytest.mark.parametrize("name", CLAIMS)
def test_claim(name: str, request: pytest.FixtureRequest) -> None:
    """A claim of the guide is answered, whichever way it falls."""
    claim, config = CLAIMS[name], request.config
    unreachable = claim.why_unreachable(config.stash[SETTINGS].stack)
    if unreachable:
        pytest.skip(unreachable)
    if claim.timed and config.option.markexpr != BENCHMARK:
        pytest.skip("measures time, alone on its device: python -m pytest -m benchmark")
    if claim.timed and is_worker(config):
        pytest.skip("measures time, and other workers would disturb it: run without -n")
    answer, points = request.getfixturevalue("measurements").answer(name)
    request.node.stash[FINDING] = Finding(answer.outcome, answer.sentence, answer.figures, points)
