"""What a worker does with what the controller tells it, before anything imports torch."""

import os

import pytest
from pydantic import TypeAdapter

from conformance.plugin.workers import WorkerInput
from matrix.stack import Stack
from tests.builders import make_stack


@pytest.mark.parametrize(("own", "compiling"), [(None, "3"), ("7", "7")])
def test_a_worker_computes_and_compiles_with_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, own: str | None, compiling: str
) -> None:
    """Unless the user says how many processes compile."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS"):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back
        monkeypatch.delenv(name)
    if own is not None:
        monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", own)
    stack, taken = make_stack(), list[tuple[int, int]]()
    monkeypatch.setattr("conformance.plugin.workers.take_threads", lambda *counts: taken.append(counts))
    told = WorkerInput(TypeAdapter(Stack).dump_json(stack).decode(), "out", "crumbs", "", "", threads=3, gpu=None)
    assert told.apply() == stack
    assert taken == [(3, int(compiling))]
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["TORCHINDUCTOR_COMPILE_THREADS"] == compiling
