import signal
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.plugin.guarding import IdleDeaths, check_spelling, heed_signals, in_workers, until_all_have_run
from conformance.plugin.hooks import needs_a_stack
from matrix.errors import UsageError
from matrix.stack import Device, Stack
from tests.builders import make_stack


def options(**given: Any) -> SimpleNamespace:
    return SimpleNamespace(**({"numprocesses": None, "dist": "no", "tx": [], "usepdb": False, "trace": False} | given))


@pytest.mark.parametrize("asked", [None, 0])
def test_there_is_a_worker_at_least(asked: int | None) -> None:
    option = options(numprocesses=asked)
    in_workers(option)
    assert (option.numprocesses, option.dist) == (1, "worksteal")


@pytest.mark.parametrize("given", [{"numprocesses": 4}, {"numprocesses": "auto"}])
def test_as_many_as_were_asked_for_remain(given: dict[str, Any]) -> None:
    option = options(**given)
    in_workers(option)
    assert (option.numprocesses, option.dist) == (given["numprocesses"], "worksteal")


def test_a_debugger_and_workers_elsewhere_and_no_xdist_are_left_alone() -> None:
    for given in ({"usepdb": True}, {"trace": True}, {"tx": ["ssh=elsewhere"], "dist": "load"}):
        option = options(**given)
        in_workers(option)
        assert option == options(**given)
    without = SimpleNamespace(usepdb=False)
    in_workers(without)
    assert without == SimpleNamespace(usepdb=False)


def test_a_mode_that_loses_cells_is_refused() -> None:
    with pytest.raises(UsageError, match="--dist each: loses cells"):
        in_workers(options(numprocesses=2, dist="each"))


def test_a_name_that_cannot_be_read_is_said_at_once() -> None:
    check_spelling(["--report-dir=/tmp/rü", "-q"])
    with pytest.raises(UsageError, match="set PYTHONUTF8=1"):
        check_spelling(["--report-dir=/tmp/r\udcc3\udcbc"])


def test_workers_are_replaced_unless_the_user_said_how_often() -> None:
    for given, wanted in ((None, str(2**31)), ("0", "0")):
        option = options(maxworkerrestart=given)
        until_all_have_run(option)
        assert option.maxworkerrestart == wanted


def test_workers_that_measure_nothing_are_not_replaced_without_end() -> None:
    deaths = IdleDeaths()
    assert not any(deaths.died(1) for _ in range(14))
    assert deaths.died(1) == "15 workers in a row died before they had measured anything"
    deaths.measured()
    assert not deaths.died(1)


def test_who_said_how_many_may_be_replaced_hears_when_they_were_more() -> None:
    deaths = IdleDeaths()
    deaths.died(1)
    deaths.died(1)
    assert (deaths.beyond(None), deaths.beyond("2")) == ("", "")
    assert deaths.beyond("1").startswith("2 of its workers died, of which --max-worker-restart=1 ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_session_once(number: signal.Signals) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    told: list[str] = []
    try:
        heed_signals(told.append)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)  # while the report is written
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert told == [number.name]


def test_a_session_that_nohup_protects_stays_protected() -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        heed_signals(lambda name: None, debugging=True)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is before[signal.SIGINT], "which leads to the debugger"
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_without_the_libraries_there_is_one_line_with_the_ways_out() -> None:
    needs_a_stack(make_stack())
    with pytest.raises(UsageError, match=r"torch and transformers not installed in .*: install .*\[stack\]"):
        needs_a_stack(Stack({}, Device.CPU))
