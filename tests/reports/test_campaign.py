"""What a command that was interrupted has measured: it goes on with that, and with nothing else."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from matrix.axes import Dtype
from matrix.errors import UsageError
from reports.campaign import interrupted, read_campaign, taken_up
from reports.dials import COMMAND, DialPower, DialTrial
from tests.builders import make_stack

WHEN = datetime(2026, 11, 28, tzinfo=UTC)
STACK = make_stack()
TRIAL = DialTrial(architecture="bert", dtype=Dtype.FLOAT16, seed=0, cell="", seen=False, readings=[])
FOUND = DialPower(started=WHEN, finished=WHEN, stack=STACK, trials=[TRIAL], asked="scale", left=1)


@pytest.mark.parametrize(
    ("left", "versions", "asked", "goes_on"),
    [
        (1, {}, "scale", True),
        (0, {}, "scale", False),
        (1, {"torch": "1.0"}, "scale", False),
        (1, {}, "", False),
    ],
)
def test_the_same_command_goes_on_with_what_was_left(
    tmp_path: Path, left: int, versions: dict[str, str], asked: str, goes_on: bool
) -> None:
    path, stack = tmp_path / "dials.json", make_stack(versions) if versions else STACK
    assert interrupted(path, DialPower, COMMAND, stack, asked) is None
    path.write_text(FOUND.model_copy(update={"left": left}).model_dump_json())
    before = interrupted(path, DialPower, COMMAND, stack, asked)
    assert (before is not None) is goes_on
    assert before is None or before.trials == [TRIAL]


def test_only_what_is_asked_for_is_taken_up_and_not_measured_again() -> None:
    found, work = ["bert 1", "bert 2", "llama 1"], ["gpt2 of now", "bert of now"]
    kept, left = taken_up(found, work, lambda one: one.split()[0])
    assert (kept, left) == (["bert 1", "bert 2"], ["gpt2 of now"])


def test_another_file_is_named_with_the_command_that_did_not_write_it(tmp_path: Path) -> None:
    (tmp_path / "dials.json").write_text('{"trials": 3}')
    with pytest.raises(UsageError, match=r"dials.json: not what python -m conformance.dial_power writes"):
        read_campaign(tmp_path / "dials.json", DialPower, COMMAND)
