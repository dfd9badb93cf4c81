"""What a process says of the time before its first cell."""

import subprocess
import sys
import time

import pytest

from conformance.plugin.clock import Clock, process_began
from tests.sessions import ROOT


def test_a_process_knows_when_it_began() -> None:
    """Not when it first asked."""
    code = "import time; time.sleep(0.5); from conformance.plugin.clock import process_began; print(process_began())"
    before = time.time()
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert before - 0.1 < float(said) < time.time() - 0.4
    assert process_began() < before


def test_it_tells_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    assert list(clock.news() or ()) == ["start"]
    assert clock.news() is None
    ticks = iter((10.0, 12.5, 20.0, 21.0))
    monkeypatch.setattr(time, "time", lambda: next(ticks))
    for _ in range(2):
        with clock.spending("import"):
            pass
    assert (clock.news() or {})["import"] == 3.5
    assert clock.news() is None


def test_what_raises_has_taken_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    ticks = iter((10.0, 12.0))
    monkeypatch.setattr(time, "time", lambda: next(ticks))
    with pytest.raises(ImportError), clock.spending("import"):
        raise ImportError
    assert clock.seconds["import"] == 2.0
