"""pytest's hooks, each a few lines over the modules beside it."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.interruption import time_limit
from conformance.plugin.breadcrumbs import read_breadcrumb
from conformance.plugin.clock import Clock
from conformance.plugin.collection import (
    CellItem,
    cell_id_of,
    is_every_cell,
    make_items,
    mark_names,
    not_planned,
    without_garbage_collection,
)
from conformance.plugin.deaths import KernelKills, is_first_death
from conformance.plugin.forkserver import ROOT
from conformance.plugin.guarding import (
    IdleDeaths,
    check_spelling,
    heed_signals,
    ignore_signals,
    in_workers,
    measures,
    until_all_have_run,
)
from conformance.plugin.measuring import MEASURE, Measure, last_words
from conformance.plugin.order import arranged
from conformance.plugin.recording import Recorder, command_line, exit_status
from conformance.plugin.resuming import Earlier
from conformance.plugin.rows import (
    CELLS,
    FAMILY_OF_FILE,
    device_is_lost,
    died_record,
    excuse,
    family_of,
    row_key,
    row_record,
)
from conformance.plugin.settings import Settings, add_options, settings_from, with_joined_options
from conformance.plugin.sharding import chosen, in_shard, leave_whole, read_whole, whole_plan
from conformance.plugin.shown import make_harmless
from conformance.plugin.watchdog import Watchdog
from conformance.plugin.workers import (
    GpuPool,
    WorkerInput,
    auto_workers,
    begin_together,
    crash_record,
    is_worker,
    no_workers_are_asked_for,
    with_ready_workers,
)
from matrix.checkpoints import folders_of
from matrix.errors import UsageError, harmless, quoted
from matrix.expectation import Outcome, expect
from matrix.memory import free_bytes, parameters_of, workers_that_fit
from matrix.plan import load_profiles
from matrix.rows import Family, RowOutcome
from matrix.shard import too_many
from matrix.shortage import in_use_by_others
from matrix.stack import Stack, detect_stack
from reports.document import Sharded
from reports.text import summary_lines

SETTINGS = pytest.StashKey[Settings]()
RECORDER = pytest.StashKey[Recorder]()
STACK = pytest.StashKey[Stack]()  # where `-n auto` has looked already
CLOCK = pytest.StashKey[Clock]()
POOL = pytest.StashKey[GpuPool]()
KNOWN = pytest.StashKey[frozenset[str]]()  # what an earlier run has measured, in which this one goes on
DEATHS = pytest.StashKey[IdleDeaths]()
GIVEN_BACK = pytest.StashKey[set[str]]()  # tests, to be run once more
WATCHDOG = pytest.StashKey[Watchdog]()
KILLS = pytest.StashKey[KernelKills]()
WHOLE = pytest.StashKey[Sharded]()  # the plan that this run's shard is of
BENCHMARK = "benchmark"  # the mark of what measures time


def pytest_addoption(parser: pytest.Parser) -> None:
    """The suite's options."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Whatever a cell does, the process that writes the report lives on."""
    if is_worker(config):
        return
    if measures(config):
        try:
            check_spelling(config.invocation_params.args)
            in_workers(config.option)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        until_all_have_run(config.option)
    elif getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """`-n auto`: what the GPUs' memory, or the cores, can bear; the user's checkpoints count with their size."""
    if measures(config) and no_workers_are_asked_for():
        return 1  # as of -n 0
    config.stash[STACK] = stack = detect_stack()
    workers = auto_workers(stack)
    try:
        largest = max(map(parameters_of, folders_of(config.option.checkpoint)), default=0)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    return min(workers, workers_that_fit(largest, stack, free_bytes())) if workers and largest else workers


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Validate the command line, before any model is loaded; in a worker, take over what the controller knows."""
    if getattr(config.option, "tx", None) and not config.option.collectonly:
        try:
            with_ready_workers(config.option)  # they import while this process plans
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
    config.stash[CLOCK] = clock = Clock()
    worker, breadcrumb = "", None
    stack, report_dir, plan = config.stash.get(STACK, None), None, None
    known, measuring = frozenset[str](), measures(config) and not is_worker(config)
    if is_worker(config):
        told = WorkerInput(**config.workerinput["conformance"])  # type: ignore[attr-defined]
        stack, report_dir, plan = told.apply(), told.report_dir, told.plan.split()
        known = frozenset(told.known.split())
        worker = config.workerinput["workerid"]  # type: ignore[attr-defined]
        breadcrumb = Path(told.breadcrumbs) / worker
    try:
        settings = settings_from(config, stack, report_dir, plan)
        earlier = Earlier(settings.report_dir) if measuring and config.option.resume else None
        recorder = Recorder(settings, command_line(), earlier)
        if measuring:
            needs_a_stack(settings.stack)
            settings.check_hub()
            recorder.prepare()
            heed_signals(recorder.stop, debugging=bool(config.option.usepdb))
            config.stash[WATCHDOG] = Watchdog(recorder.breadcrumbs, settings.cell_timeout, recorder.has)
            config.stash[WATCHDOG].start()
            known = recorder.known
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    for name in mark_names(list(settings.architectures)):
        config.addinivalue_line("markers", f"{name}: cells with this value on an axis")
    config.addinivalue_line("markers", f"{BENCHMARK}: measures time, alone on its device")
    asked = any(value for name, value in vars(config.option).items() if name.startswith("hypothesis_"))
    if Family.PROPERTY in wanted_families(config, settings) or asked:
        from conformance.hypothesis_profiles import register  # hypothesis, which only the properties need

        register()  # before hypothesis looks for the one that its option names
    elif measuring and (plugin := config.pluginmanager.get_plugin("hypothesispytest")):
        config.pluginmanager.unregister(plugin)  # it would import hypothesis at the end, to say that it did nothing
    if not is_worker(config):
        config.invocation_params = with_joined_options(config.invocation_params)
    config.stash[SETTINGS], config.stash[KNOWN], config.stash[DEATHS] = settings, known, IdleDeaths()
    config.stash[MEASURE] = measure = Measure(settings, clock, worker=worker, breadcrumb=breadcrumb)
    if is_worker(config):
        measure.ask_for_gpu()
    if not is_worker(config):
        config.stash[RECORDER] = recorder


def needs_a_stack(stack: Stack) -> None:
    """Raise UsageError where there is nothing to measure."""
    absent = [name for name in ("torch", "transformers") if stack.lacks(name)]
    if absent:
        raise UsageError(
            f"{' and '.join(absent)} not installed in {sys.prefix}: install the suite where they are, "
            "or with its own (python -m pip install -e '.[stack]')"
        )


def wanted_families(config: pytest.Config, settings: Settings) -> tuple[Family, ...]:
    """Rows of the profile's families alone, unless files are named; whoever names cells wants no rows."""
    named = [_place((config.invocation_params.dir / argument.partition("::")[0]).resolve()) for argument in config.args]
    if named and all(place == CELLS or place in FAMILY_OF_FILE for place in named):
        return tuple(FAMILY_OF_FILE[place] for place in named if place != CELLS)
    if any(place.endswith(".py") for place in named):
        return tuple(Family)
    if settings.narrowed:
        return ()
    of_profile = load_profiles()[settings.profile].rows
    return (*of_profile, Family.CLAIM) if config.option.markexpr == BENCHMARK else of_profile


def _place(path: Path) -> str:
    """Where it is in the suite, or elsewhere."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What is measured, and where the report goes."""
    settings = config.stash[SETTINGS]
    stack = settings.stack
    libraries = ", ".join(f"{name} {version}" for name, version in stack.versions.items())
    gpus = ", ".join(gpu.name for gpu in stack.gpus)
    return [
        f"stack: {stack.device}{f' ({gpus})' if gpus else ''}, {libraries or 'no library of the stack is installed'}",
        f"profile: {settings.profile}{f', narrowed to {settings.narrowed}' if settings.narrowed else ''}"
        f"{f', shard {settings.shard}' if settings.shard else ''}",
        *in_use_by_others(stack.gpus),
    ]


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Any:
    """Collect without garbage collection: a third less time."""
    settings = session.config.stash[SETTINGS]
    if (cell := not_planned(session.config.args, settings.plan)) is not None:
        raise pytest.UsageError(
            f"{quoted(cell)} is no cell of profile {settings.profile}"
            f"{', narrowed as it is' if settings.narrowed else ''}; --cell ID runs any cell that can be"
        )
    with session.config.stash[CLOCK].spending("collect"), without_garbage_collection():
        return (yield)


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> list[CellItem] | None:
    """A function marked with `every_cell` becomes one item per cell of the plan."""
    if not is_every_cell(obj):
        return None
    return make_items(collector, name, obj, collector.config.stash[SETTINGS].plan)  # type: ignore[arg-type]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files of rows that are not wanted, which need not be imported; whoever names cells wants no test
    of the axes. A file that is named is collected whatever this says."""
    settings = config.stash[SETTINGS]
    place = _place(collection_path)
    family = FAMILY_OF_FILE.get(place)
    unwanted = family is not None and family not in wanted_families(config, settings)
    return True if unwanted or (settings.narrowed and place == "conformance/test_axes.py") else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is left after -k and -m, but before --lf, which depends on the machine: of that the shard, without what an
    earlier run has measured, in the order in which workers are to take it."""
    settings = config.stash[SETTINGS]
    if settings.only is not None:
        items[:] = chosen(items, settings.only)
    if settings.shard is not None:
        config.stash[WHOLE] = whole = whole_plan((item.nodeid for item in items), settings.shard)
        items[:] = in_shard(items, settings.shard)
        if is_worker(config):
            told = WorkerInput(**config.workerinput["conformance"])  # type: ignore[attr-defined]
            leave_whole(Path(told.breadcrumbs), config.workerinput["workerid"], whole)  # type: ignore[attr-defined]
        elif not items:
            raise pytest.UsageError(str(too_many(settings.shard)))
    if known := config.stash[KNOWN]:
        items[:] = [item for item in items if (cell_id_of(item.nodeid) or row_key(item.nodeid)) not in known]
    if is_worker(config):
        workers = config.workerinput["workercount"]  # type: ignore[attr-defined]
        stack, rules = settings.stack, settings.rules
        items[:] = arranged(items, workers, lambda cell: expect(cell, stack, rules).outcome is Outcome.SUPPORTED)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without xdist: the plan is what is left after -k, -m, --shard and --lf."""
    config = session.config
    if RECORDER in config.stash and not config.option.collectonly:
        _plan(config, [item.nodeid for item in session.items], config.stash.get(WHOLE, None))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """With xdist: the same, as told by a worker."""
    settings, recorder = node.config.stash[SETTINGS], node.config.stash[RECORDER]
    if recorder.begun:  # with what another worker told
        return
    if settings.shard is None:
        _plan(node.config, ids)
    elif ids or recorder.known:
        _plan(node.config, ids, read_whole(recorder.breadcrumbs, node.gateway.id))
    else:  # an error in a worker would be a traceback
        raise pytest.UsageError(str(too_many(settings.shard)))


def _plan(config: pytest.Config, nodeids: list[str], whole: Sharded | None = None) -> None:
    try:
        config.stash[RECORDER].planned(nodeids, whole)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    except OSError as error:
        raise pytest.UsageError(f"{config.stash[SETTINGS].report_dir}: {error.strerror}") from None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Before any worker begins."""
    begin_together(config.pluginmanager.getplugin("dsession").nodemanager.group, specs)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a new worker its GPU, its share of cores and the stack."""
    config = node.config
    settings, recorder = config.stash[SETTINGS], config.stash[RECORDER]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    config.stash.setdefault(KILLS, KernelKills())
    pool = config.stash.setdefault(POOL, GpuPool(len(settings.stack.gpus), visible))
    workers = node.workerinput["workercount"]
    # One worker has all GPUs: there are recipes that need two.
    gpu = pool.acquire(node.gateway.id) if workers > 1 else None
    node.workerinput["conformance"] = WorkerInput.make(settings, recorder.breadcrumbs, recorder.known, workers, gpu)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker is gone: its GPU is free."""
    if POOL in node.config.stash:
        node.config.stash[POOL].release(node.gateway.id)
    if RECORDER in node.config.stash:
        recorder = node.config.stash[RECORDER]
        memory = getattr(node, "workeroutput", {}).get("memory")  # of what died the breadcrumb may tell
        memory = memory or (read_breadcrumb(recorder.breadcrumbs / node.gateway.id) or {}).get("memory")
        recorder.process_ended(node.gateway.id, memory, died=bool(error))
        if error and (why := node.config.stash[DEATHS].died(node.workerinput["workercount"])):
            recorder.stop(why)
            pytest.exit(why, returncode=pytest.ExitCode.INTERNAL_ERROR)


def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Somebody pressed Ctrl-C, or the session was ended for another reason, which then is known."""
    if _recorder is not None:
        _recorder.stop(str(excinfo.value) or "SIGINT")


def pytest_internalerror(excrepr: object) -> None:
    """Something that pytest or the suite itself does is at fault."""
    if _recorder is not None:
        _recorder.stop("an internal error")


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any, sched: Any) -> None:
    """A worker died: give the cell or row its record, or give it back if it had not begun."""
    cell, row = cell_id_of(crashitem), row_key(crashitem)
    if cell is None and row is None:
        return
    config = sched.config
    settings, recorder = config.stash[SETTINGS], config.stash[RECORDER]
    killed = config.stash[KILLS].another()  # asked at each death: it is of this one, or of none
    if recorder.has(cell or row):
        report.outcome = "rerun"  # its record is here: the worker left on purpose, being beyond use
        return
    worker = report.node.gateway.id
    breadcrumb = recorder.breadcrumbs / worker
    given_back = config.stash.setdefault(GIVEN_BACK, set())
    again = crashitem in given_back
    if row is not None and (again or (read_breadcrumb(breadcrumb) or {}).get("row") == row):
        said = last_words(breadcrumb)
        died = died_record(row, settings, said.read_text(encoding="utf-8") if said.is_file() else "")
        report.row_record = died.model_dump_json()
        report.longrepr = harmless(f"{row}: {died.reason}")
        excuse(report, died)
        return
    record = crash_record(crashitem, worker, recorder.breadcrumbs, settings, killed=killed, again=again)
    given_back.add(crashitem)
    if record is None or is_first_death(record, recorder.breadcrumbs):  # which is not believed: see Measure
        sched.mark_test_pending(crashitem)
        report.outcome = "rerun"
        return
    report.cell_record = record.model_dump_json()
    report.longrepr = harmless(f"{record.verdict}: {record.cell}\n  {record.reason}")
    excuse(report, record)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Let the record travel with the report, as plain JSON."""
    report = yield
    make_harmless(report)
    if call.when == "call":
        clock = item.config.stash[CLOCK]
        news = clock.news()
        report.spent = None if news is None else {"began": clock.began, "seconds": news}
    if isinstance(item, CellItem):
        if call.when == "call" and item.record_json is not None:
            report.cell_record = item.record_json
        return report
    row = row_record(item, call, report, item.config.stash[SETTINGS])
    if row is not None:
        report.row_record = row.model_dump_json()
        item.user_properties.append(("verdict", row.word))
        excuse(report, row)
        if row.outcome is RowOutcome.VIOLATED and device_is_lost():
            item.config.stash[MEASURE].device_lost = True
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Say which row this process measures. A reported failure may be a hang; properties and claims take their time."""
    row = row_key(item.nodeid)
    limited = family_of(item.nodeid) in (Family.REGRESSION, Family.GUIDE, Family.EAGER)
    with (
        contextlib.nullcontext() if row is None else item.config.stash[MEASURE].row(row),
        time_limit(item.config.stash[SETTINGS].cell_timeout) if limited else contextlib.nullcontext(),
    ):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A report has arrived where the session is controlled."""
    if _recorder is None:
        return
    told = None
    measured = hasattr(report, "cell_record") or hasattr(report, "row_record")
    if _deaths is not None and (report.when == "call" or measured):
        _deaths.measured()
    began = getattr(report, "start", 0.0) or None  # nobody knows it of what died
    worker = report.node.gateway.id if hasattr(report, "node") else ""
    if (spent := getattr(report, "spent", None)) is not None:
        _recorder.process(worker, **spent)
    if (line := getattr(report, "cell_record", None)) is not None:
        told = _recorder.record(line, began, report.duration)
    if (row := getattr(report, "row_record", None)) is not None:
        told = _recorder.record_row(row, worker, began)
    if told and _terminal is not None:
        _terminal.ensure_newline()
        _terminal.write_line(told)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid: str) -> None:
    """In a worker that is beyond use: the record is sent, now leave, so that a fresh process goes on."""
    if _measure is not None and (_measure.device_lost or _measure.left_changed):
        os._exit(1)


def pytest_sessionstart(session: pytest.Session) -> None:
    """The report hooks are given no config."""
    global _recorder, _measure, _terminal, _deaths
    _deaths = session.config.stash[DEATHS]
    _terminal = session.config.pluginmanager.getplugin("terminalreporter")
    _recorder = session.config.stash.get(RECORDER, None)
    _measure = session.config.stash[MEASURE] if is_worker(session.config) else None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the report and let it decide the exit code."""
    if RECORDER in session.config.stash:  # the report is written once, whatever comes now
        ignore_signals()
    memory = session.config.stash[MEASURE].memory()
    if is_worker(session.config):
        session.config.workeroutput["memory"] = memory  # type: ignore[attr-defined]
    recorder = session.config.stash.get(RECORDER, None)
    if recorder is not None:
        recorder.process_ended("", memory)
        if ended := session.shouldfail or session.shouldstop:
            recorder.stop(str(ended))  # -x, --maxfail
        elif recorder.lacks and (why := _deaths_beyond_replacement(session.config)):
            recorder.stop(why)
    if WATCHDOG in session.config.stash:
        session.config.stash[WATCHDOG].stop()
    report = recorder.finish() if recorder is not None else None
    if report is not None:
        # With workers -x interrupts the session; without it the tests fail.
        session.exitstatus = exit_status(report, pytest.ExitCode.TESTS_FAILED if session.shouldfail else exitstatus)


def _deaths_beyond_replacement(config: pytest.Config) -> str:
    return config.stash[DEATHS].beyond(getattr(config.option, "maxworkerrestart", None))  # which only xdist has


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Failures first, then the table, then where the report is."""
    recorder = config.stash.get(RECORDER, None)
    if recorder is None or recorder.report is None:
        return
    terminalreporter.section("support matrix")
    for line in summary_lines(recorder.report):
        terminalreporter.line(harmless(line))
    if (page := config.stash[SETTINGS].report_dir / "index.html").is_file():  # the disk may be full
        terminalreporter.line(f"report: {page}")


_recorder: Recorder | None = None
_measure: Measure | None = None
_terminal: Any = None
_deaths: IdleDeaths | None = None
