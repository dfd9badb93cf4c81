"""What the rows' tests share."""

from typing import TYPE_CHECKING

import pytest

from conformance.plugin.hooks import SETTINGS

if TYPE_CHECKING:
    from conformance.lab import Lab


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> "Lab":
    """The laboratory of this session. Made with the first row that can be tried; torch comes in here."""
    from conformance.lab import Lab

    settings = request.config.stash[SETTINGS]
    return Lab(settings.stack, settings.fixture_cache, settings.architectures)
