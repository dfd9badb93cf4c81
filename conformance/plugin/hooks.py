"""pytest's hooks, each a few lines over the modules beside it."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from conformance.interruption import time_limit
from conformance.plugin.clock import Clock
from conformance.plugin.collection import (
    CellItem,
    cell_id_of,
    is_every_cell,
    make_items,
    mark_names,
    without_garbage_collection,
)
from conformance.plugin.forkserver import ROOT
from conformance.plugin.measuring import MEASURE, Measure, last_words
from conformance.plugin.order import arranged
from conformance.plugin.recording import Recorder, command_line, exit_status
from conformance.plugin.rows import FAMILY_OF_FILE, device_is_lost, died_record, excuse, family_of, row_key, row_record
from conformance.plugin.settings import Settings, add_options, settings_from, with_joined_options
from conformance.plugin.sharding import chosen, in_shard, leave_whole, read_whole, whole_plan
from conformance.plugin.workers import (
    GpuPool,
    WorkerInput,
    auto_workers,
    crash_record,
    is_worker,
    read_breadcrumb,
    with_ready_workers,
)
from matrix.checkpoints import folders_of
from matrix.errors import UsageError
from matrix.memory import free_bytes, parameters_of, workers_that_fit
from matrix.plan import load_profiles
from matrix.rows import Family, RowOutcome
from matrix.shard import too_many
from matrix.stack import Stack, detect_stack
from reports.document import Sharded
from reports.text import summary_lines

SETTINGS = pytest.StashKey[Settings]()
RECORDER = pytest.StashKey[Recorder]()
STACK = pytest.StashKey[Stack]()  # where `-n auto` has looked already
CLOCK = pytest.StashKey[Clock]()
POOL = pytest.StashKey[GpuPool]()
WHOLE = pytest.StashKey[Sharded]()  # the plan that this run's shard is of
BENCHMARK = "benchmark"  # the mark of what measures time


def pytest_addoption(parser: pytest.Parser) -> None:
    """The suite's options."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Hand out contiguous blocks: the plan is ordered by architecture, so each worker's caches stay warm."""
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """`-n auto`: what the GPUs' memory, or the cores, can bear; the user's checkpoints count with their size."""
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
        with_ready_workers(config.option)  # they import while this process plans
    config.stash[CLOCK] = clock = Clock()
    worker, breadcrumb = "", None
    stack, report_dir, plan = config.stash.get(STACK, None), None, None
    if is_worker(config):
        told = WorkerInput(**config.workerinput["conformance"])  # type: ignore[attr-defined]
        stack, report_dir, plan = told.apply(), told.report_dir, told.plan.split()
        worker = config.workerinput["workerid"]  # type: ignore[attr-defined]
        breadcrumb = Path(told.breadcrumbs) / worker
    try:
        settings = settings_from(config, stack, report_dir, plan)
        recorder = Recorder(settings, command_line())
        if not is_worker(config) and not config.option.collectonly:
            settings.check_hub()
        if config.option.report_dir and not is_worker(config) and not config.option.collectonly:
            recorder.prepare()
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    for name in mark_names(list(settings.architectures)):
        config.addinivalue_line("markers", f"{name}: cells with this value on an axis")
    config.addinivalue_line("markers", f"{BENCHMARK}: measures time, alone on its device")
    if Family.PROPERTY in wanted_families(config, settings) or config.getoption("--hypothesis-profile", None):
        from conformance.hypothesis_profiles import register  # hypothesis, which only the properties need

        register()  # before hypothesis looks for the one that its option names
    if not is_worker(config):
        config.invocation_params = with_joined_options(config.invocation_params)
    config.stash[SETTINGS] = settings
    config.stash[MEASURE] = measure = Measure(settings, clock, worker=worker, breadcrumb=breadcrumb)
    if is_worker(config):
        measure.ask_for_gpu()
    if not is_worker(config):
        config.stash[RECORDER] = recorder


def wanted_families(config: pytest.Config, settings: Settings) -> tuple[Family, ...]:
    """Rows of the profile's families alone, unless a file is named; whoever names cells wants no rows."""
    if any(argument.partition("::")[0].endswith(".py") for argument in config.args):
        return tuple(Family)
    if settings.narrowed:
        return ()
    of_profile = load_profiles()[settings.profile].rows
    return (*of_profile, Family.CLAIM) if config.option.markexpr == BENCHMARK else of_profile


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
    ]


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Any:
    """Collect without garbage collection: a third less time."""
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
    place = collection_path.relative_to(ROOT).as_posix() if collection_path.is_relative_to(ROOT) else ""
    family = FAMILY_OF_FILE.get(place)
    unwanted = family is not None and family not in wanted_families(config, settings)
    return True if unwanted or (settings.narrowed and place == "conformance/test_axes.py") else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is left after -k and -m, but before --lf, which depends on the machine: of that the shard, in the order in
    which workers are to take it."""
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
    if is_worker(config):
        items[:] = arranged(items, config.workerinput["workercount"])  # type: ignore[attr-defined]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without xdist: the plan is what is left after -k, -m, --shard and --lf."""
    config = session.config
    if RECORDER in config.stash and not config.option.collectonly:
        config.stash[RECORDER].planned((item.nodeid for item in session.items), config.stash.get(WHOLE, None))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """With xdist: the same, as told by a worker."""
    settings, recorder = node.config.stash[SETTINGS], node.config.stash[RECORDER]
    if settings.shard is None:
        recorder.planned(ids)
    elif ids:
        recorder.planned(ids, read_whole(recorder.breadcrumbs, node.gateway.id))
    else:  # an error in a worker would be a traceback
        raise pytest.UsageError(str(too_many(settings.shard)))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a new worker its GPU, its share of cores and the stack."""
    config = node.config
    settings, recorder = config.stash[SETTINGS], config.stash[RECORDER]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    pool = config.stash.setdefault(POOL, GpuPool(len(settings.stack.gpus), visible))
    workers = len(config.option.tx or [])
    node.workerinput["conformance"] = WorkerInput.make(
        settings, recorder.breadcrumbs, workers, pool.acquire(node.gateway.id)
    )


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker is gone: its GPU is free."""
    if POOL in node.config.stash:
        node.config.stash[POOL].release(node.gateway.id)
    if error and RECORDER in node.config.stash:
        node.config.stash[RECORDER].process_died(node.gateway.id)


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any, sched: Any) -> None:
    """A worker died: give the cell or row its record, or give it back if it had not begun."""
    cell, row = cell_id_of(crashitem), row_key(crashitem)
    if cell is None and row is None:
        return
    config = sched.config
    settings, recorder = config.stash[SETTINGS], config.stash[RECORDER]
    if recorder.has(cell or row):
        report.outcome = "rerun"  # its record is here: the worker left on purpose, being beyond use
        return
    worker = report.node.gateway.id
    breadcrumb = recorder.breadcrumbs / worker
    if row is not None and (read_breadcrumb(breadcrumb) or {}).get("row") == row:
        said = last_words(breadcrumb)
        died = died_record(row, settings, said.read_text(encoding="utf-8") if said.is_file() else "")
        report.row_record = died.model_dump_json()
        report.longrepr = f"{row}: {died.reason}"
        excuse(report, died)
        return
    record = crash_record(crashitem, worker, recorder.breadcrumbs, settings)
    if record is None:
        sched.mark_test_pending(crashitem)
        report.outcome = "rerun"
        return
    report.cell_record = record.model_dump_json()
    report.longrepr = f"{record.verdict}: {record.cell}\n  {record.reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Let the record travel with the report, as plain JSON."""
    report = yield
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
    if row is not None:
        item.config.stash[MEASURE].begin_row(row)
    limited = family_of(item.nodeid) in (Family.REGRESSION, Family.GUIDE)
    with time_limit(item.config.stash[SETTINGS].cell_timeout) if limited else contextlib.nullcontext():
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A report has arrived where the session is controlled."""
    if _recorder is None:
        return
    told = None
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
    global _recorder, _measure, _terminal
    _terminal = session.config.pluginmanager.getplugin("terminalreporter")
    _recorder = session.config.stash.get(RECORDER, None)
    _measure = session.config.stash[MEASURE] if is_worker(session.config) else None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the report and let it decide the exit code."""
    recorder = session.config.stash.get(RECORDER, None)
    report = recorder.finish() if recorder is not None else None
    if report is not None:
        session.exitstatus = exit_status(report, exitstatus)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Failures first, then the table, then where the report is."""
    recorder = config.stash.get(RECORDER, None)
    if recorder is None or recorder.report is None:
        return
    terminalreporter.section("support matrix")
    for line in summary_lines(recorder.report):
        terminalreporter.line(line)
    terminalreporter.line(f"report: {config.stash[SETTINGS].report_dir / 'index.html'}")


_recorder: Recorder | None = None
_measure: Measure | None = None
_terminal: Any = None
