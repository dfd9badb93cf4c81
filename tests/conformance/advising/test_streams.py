"""Models that are measured side by side: each has its share of the machine, and what fails takes no other with it."""

import os
from functools import partial
from pathlib import Path

import pytest

from conformance.advising import quiet, streams
from conformance.advising.command import Say
from matrix.errors import UsageError
from reports.advice import Advice


def measured(group: list[Advice], room: int, said: Say) -> None:
    """What a stream does, in place of measuring."""
    compiled = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    before = compiled.exists()
    compiled.mkdir(parents=True, exist_ok=True)
    said(
        f"{room} bytes, {os.environ['TORCHINDUCTOR_COMPILE_THREADS']} threads, {os.getpgrp() == os.getpid()}, {before}"
    )
    if group[0].model.name == "broken":
        raise UsageError("it is broken")


def of_a_model(advice: Advice, name: str, parameters: int) -> list[Advice]:
    model = advice.model.model_copy(update={"name": name, "parameters": parameters})
    return [advice.model_copy(update={"model": model})]


def test_each_has_a_share_and_a_process_of_its_own(advice: Advice, capfd: pytest.CaptureFixture[str]) -> None:
    named = partial(of_a_model, advice)
    groups = [named("large", 6_000_000_000), named("broken", 0), named("small", 0)]
    assert streams.rooms(groups, 1000, 2) == [800, 200, 200]
    assert streams.side_by_side(groups, measured, 1000, 2) == ["broken"]
    threads = max(1, streams.cpu_count() // 2)
    said = capfd.readouterr()
    assert said.err == "broken: error: it is broken\n"
    assert sorted(said.out.splitlines()) == [
        f"broken: 200 bytes, {threads} threads, True, False",
        f"large: 800 bytes, {threads} threads, True, False",
        f"small: 200 bytes, {threads} threads, True, False",
    ]
    assert quiet.FOLDER not in os.environ


def test_what_is_compiled_is_kept_until_its_model_is_measured_to_the_end(
    advice: Advice, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """So that a call that goes on need not compile it again."""
    groups = [of_a_model(advice, name, 0) for name in ("broken", "small")]
    for found in (False, True):
        assert streams.side_by_side(groups, measured, 1000, 2, tmp_path) == ["broken"]
        assert [path.parent.name for path in tmp_path.glob("*/compiled")] == ["broken"]
        said = dict(line.split(": ", 1) for line in capfd.readouterr().out.splitlines())
        assert said["broken"].endswith(f", {found}")
        assert said["small"].endswith(", False")


def test_two_of_one_name_share_nothing_that_is_compiled(advice: Advice, capfd: pytest.CaptureFixture[str]) -> None:
    """Models of two folders that are called alike; what failed leaves its own behind for whoever would find it."""
    groups = [of_a_model(advice, "broken", 0)] * 2
    assert streams.side_by_side(groups, measured, 1000, 1) == ["broken"] * 2
    assert [line.endswith(", False") for line in capfd.readouterr().out.splitlines()] == [True, True]
