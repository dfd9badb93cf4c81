"""The guide: one test for each recipe and spelling that a probe tries, and for each version that it asks for."""

import pytest

from conformance.guide import try_recipe
from conformance.plugin.hooks import SETTINGS
from conformance.plugin.rows import FINDING, Finding
from matrix.guide import load_guide
from matrix.rows import RowOutcome

GUIDE = load_guide()
REQUIREMENTS = {requirement.row: requirement for requirement in GUIDE.requirements}


@pytest.mark.parametrize("name", [*GUIDE.rows, *REQUIREMENTS])
def test_guide(name: str, request: pytest.FixtureRequest) -> None:
    """The recipe does what it says, or is refused in the documented words."""
    stack = request.config.stash[SETTINGS].stack
    if name in REQUIREMENTS:
        requirement = REQUIREMENTS[name]
        if stack.lacks(requirement.distribution):
            pytest.skip(f"needs {requirement.distribution}")
        problem = requirement.problem(stack)
        assert not problem, problem
        return
    recipe, spelling = GUIDE.rows[name]
    unreachable = recipe.why_unreachable(stack)
    if unreachable:
        pytest.skip(unreachable)
    refused = try_recipe(recipe, spelling, GUIDE.refusal(recipe, spelling, stack), request.getfixturevalue("lab"))
    if refused:
        request.node.stash[FINDING] = Finding(RowOutcome.REFUSED, refused)
