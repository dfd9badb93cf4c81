"""Models that are measured side by side: each has its share of the machine, and what fails takes no other with it."""

import os

import pytest

from conformance.advising import quiet, streams
from conformance.advising.command import Say
from matrix.errors import UsageError
from reports.advice import Advice


def measured(group: list[Advice], room: int, said: Say) -> None:
    """What a stream does, in place of measuring."""
    said(f"{room} bytes, {os.environ['TORCHINDUCTOR_COMPILE_THREADS']} threads, {os.getpgrp() == os.getpid()}")
    if group[0].model.name == "broken":
        raise UsageError("it is broken")


def test_each_has_a_share_and_a_process_of_its_own(advice: Advice, capfd: pytest.CaptureFixture[str]) -> None:
    def named(name: str, parameters: int) -> list[Advice]:
        model = advice.model.model_copy(update={"name": name, "parameters": parameters})
        return [advice.model_copy(update={"model": model})]

    groups = [named("large", 6_000_000_000), named("broken", 0), named("small", 0)]
    assert streams.rooms(groups, 1000, 2) == [800, 200, 200]
    assert streams.side_by_side(groups, measured, 1000, 2) == ["broken"]
    threads = max(1, streams.cpu_count() // 2)
    said = capfd.readouterr()
    assert said.err == "broken: error: it is broken\n"
    assert sorted(said.out.splitlines()) == [
        f"broken: 200 bytes, {threads} threads, True",
        f"large: 800 bytes, {threads} threads, True",
        f"small: 200 bytes, {threads} threads, True",
    ]
    assert quiet.FOLDER not in os.environ
