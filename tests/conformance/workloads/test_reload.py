"""Run, save, load = run."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance.faults import Fault
from tests.rooms import must_break, must_hold

CELL = "opt-bfloat16-sdpa-left-reload"


@contextlib.contextmanager
def nudged(model: Any) -> Iterator[None]:
    """The first model says something that is not in its weights."""
    hook = model.get_output_embeddings().register_forward_hook(lambda module, args, output: output + 1)
    try:
        yield
    finally:
        hook.remove()


def test_it_holds_for_an_honest_model(cache: Path) -> None:
    must_hold(CELL, cache)


def test_it_does_not_for_one_that_breaks_it(cache: Path) -> None:
    assert "reload" in must_break(CELL, Fault("nudged", "a hook that is not saved", bool, running=nudged), cache)
