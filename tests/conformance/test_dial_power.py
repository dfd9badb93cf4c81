"""The command that turns dials: what it has measured is kept, whatever becomes of the rest."""

import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conformance import dial_power
from conformance.pool import processes, results
from matrix.axes import Dtype
from matrix.errors import UsageError
from reports.dials import DialPower, DialTrial, read_dial_power
from tests.builders import make_stack

WHEN = datetime(2026, 11, 28, tzinfo=UTC)


def done(share: int) -> int:
    """In a process of a pool: what is done, what fails, or what interrupts who waits."""
    if share == 1:
        raise ValueError("of the second share")
    if share == 3:
        os.kill(os.getppid(), signal.SIGINT)
        signal.pause()
    return share


@pytest.mark.parametrize("shares", [(0, 1, 2), (0, 1, 2, 3)])
def test_what_fails_or_is_interrupted_loses_nothing_of_the_rest(
    shares: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    pool = processes(1, 0)
    assert results(pool, [pool.submit(done, share) for share in shares]) == [0, 2]
    assert "ValueError: of the second share" in capsys.readouterr().err


def test_the_same_command_goes_on_with_what_was_left(tmp_path: Path) -> None:
    trial = DialTrial(architecture="bert", dtype=Dtype.FLOAT16, seed=0, cell="", seen=False, readings=[])
    stack, output = make_stack(), tmp_path / "dials.json"
    assert dial_power._interrupted(output, stack, "scale") == []
    found = DialPower(started=WHEN, finished=WHEN, stack=stack, trials=[trial], asked="scale", left=1)
    output.write_text(found.model_dump_json())
    assert dial_power._interrupted(output, stack, "scale") == [trial]
    assert dial_power._interrupted(output, stack, "") == []
    assert dial_power._interrupted(output, make_stack({"torch": "1.0"}), "scale") == []
    output.write_text(found.model_copy(update={"left": 0}).model_dump_json())
    assert dial_power._interrupted(output, stack, "scale") == []


def test_another_file_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "dials.json").write_text('{"trials": 3}')
    with pytest.raises(UsageError, match=r"dials.json: not what python -m conformance.dial_power writes"):
        read_dial_power(tmp_path / "dials.json")
