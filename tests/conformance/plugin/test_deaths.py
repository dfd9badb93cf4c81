"""Which cells took a worker down before, and whether the kernel wanted memory back."""

from pathlib import Path

import pytest

from conformance.plugin import deaths
from conformance.plugin.deaths import KernelKills, first_death, is_first_death
from matrix.verdict import Verdict
from reports.document import Waived
from tests.builders import record_of

CELL = "llama-float32-eager-prefill"


@pytest.mark.parametrize("verdict", [Verdict.CRASHED, Verdict.OUT_OF_MEMORY])
def test_a_death_is_the_first_only_once(tmp_path: Path, verdict: Verdict) -> None:
    record = record_of(CELL, verdict)
    assert first_death(CELL, tmp_path) is None
    assert is_first_death(record, tmp_path)
    assert not is_first_death(record, tmp_path)
    assert first_death(CELL, tmp_path) == record


@pytest.mark.parametrize(
    "record",
    [
        record_of(CELL, Verdict.TIMEOUT),
        record_of(CELL, Verdict.INACCURATE),
        record_of(CELL, Verdict.CRASHED, waived=Waived(reason="known", url="https://example.org/1")),
    ],
    ids=str,
)
def test_what_hung_is_known_or_was_only_explained_is_believed_at_once(tmp_path: Path, record: object) -> None:
    assert not is_first_death(record, tmp_path)  # type: ignore[arg-type]
    assert first_death(CELL, tmp_path) is None


def test_each_kill_of_the_kernel_explains_one_death(tmp_path: Path) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    kills = KernelKills(counter)
    assert not kills.another()
    counter.write_text("low 0\noom 5\noom_kill 4\noom_group_kill 0\n")
    assert [kills.another() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("said", [None, "", "oom_kill\n", "oom_kill many\n", "oom 7\n"])
def test_who_does_not_count_kills_nobody(tmp_path: Path, said: str | None) -> None:
    counter = tmp_path / "memory.events"
    if said is not None:
        counter.write_text(said)
    assert not KernelKills(counter).another()


def test_this_machine_counts_somewhere() -> None:
    assert deaths._counter().is_file()
