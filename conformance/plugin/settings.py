"""The command line, validated before any model is loaded."""

import hashlib
import os
import re
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import pytest

from matrix.architectures import Architecture, load_architectures
from matrix.cell import Cell, parse_cell
from matrix.checkpoints import check_hub_model, folders_by_name, parse_checkpoints
from matrix.errors import UsageError, enumerated, quoted
from matrix.expectation import Rule, load_rules
from matrix.files import read_file
from matrix.guide import Guide, load_guide
from matrix.installed import FIXTURE_CACHE, architectures_for
from matrix.memory import parameters_of
from matrix.plan import load_profiles, make_plan, named_cell
from matrix.regressions import Regression, load_regressions
from matrix.rows import Family
from matrix.selection import parse_selection
from matrix.shard import Shard, parse_shard
from matrix.stack import REQUIREMENTS, Device, Stack, detect_stack
from matrix.waiver import Waiver, load_waivers
from reports.packed import report_file
from reports.reading import read_report

REPORTS = Path("reports/out")
LARGEST_SEED = 2**32
LONGEST_TIMEOUT = 7 * 24 * 3600  # seconds; what no timer can count is too long as well
_IDS_SHOWN = 3
_FAMILIES = frozenset(family.value for family in Family)
_PATTERNS = re.compile(r"[a-z][a-z0-9_*,]*")
_PATH_OPTIONS = (
    "--report-dir",
    "--resume",
    "--fixture-cache",
    "--architectures",
    "--expectations",
    "--waivers",
    "--only",
    "--fixtures-of",
)


def add_options(parser: pytest.Parser) -> None:
    """The suite's own options."""
    group = parser.getgroup("conformance", "the support matrix")
    group.addoption(
        "--profile",
        help="the plan: smoke, pairwise, relations, full, zoo, guide (default: pairwise with a GPU, else smoke)",
    )
    group.addoption("--cells", default="", help='narrow the plan: "architecture=llama,falcon dtype=bfloat16"')
    group.addoption("--cell", action="append", default=[], metavar="ID", help="run exactly this cell; may be repeated")
    group.addoption("--shard", metavar="I/N", help="one of N parts of the plan that cost alike")
    group.addoption("--only", metavar="FILE", help="of the plan, the cells and rows that a file names, one a line")
    group.addoption("--require", default="", help="what must be here, as in cuda,flash-attn,bitsandbytes")
    group.addoption("--report-dir", help=f"where the report goes (default: {REPORTS}/<time>-<process>)")
    group.addoption(
        "--resume", metavar="DIR", help="go on with the run of this report folder: measure what it has no record of"
    )
    group.addoption(
        "--fixture-cache", default=str(FIXTURE_CACHE), help="where fixtures are kept (default: %(default)s)"
    )
    group.addoption(
        "--fixtures-of",
        metavar="REPORT",
        help="eager rows load the fixtures that the run of this report has loaded, from --fixture-cache",
    )
    group.addoption(
        "--checkpoint",
        action="append",
        default=[],
        metavar="=FOLDER|ARCHITECTURE=PATH_OR_HUB_ID",
        help="run this checkpoint's cells, or an architecture's cells on this checkpoint; may be repeated",
    )
    group.addoption(
        "--architectures",
        metavar="DIR|PATTERNS",
        help='a folder of further architecture files, or rows: "gemma*,qwen3*"',
    )
    group.addoption("--expectations", metavar="PATH", help="a file or folder of expectations that override the suite's")
    group.addoption("--waivers", metavar="PATH", help="a file or folder of further waivers")
    group.addoption(
        "--cell-timeout", type=_seconds, default=300.0, metavar="SECONDS", help="per cell (default: %(default)g)"
    )
    group.addoption(
        "--keep-warm",
        default="0",
        metavar="MINUTES",
        help="keep what has imported the libraries for so long, for the next run; nothing of it is used after a change",
    )
    group.addoption("--fault", metavar="NAME", help="seed a fault into every cell, to see whether it is caught")
    group.addoption("--seed", type=_seed, default=0, help="of the fixtures' weights and of the batches (default: 0)")
    group.addoption("--no-dials", action="store_true", help="judge errors by their size alone")
    group.addoption(
        "--costs",
        action="store_true",
        help="time right cells with a cache, a transformation or a quantisation beside the same cells without",
    )
    group.addoption("--trust-remote-code", action="store_true", help="let checkpoints bring code of their own")


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"{quoted(text)} is no number of seconds") from None


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"{quoted(text)} is no whole number") from None


@dataclass(frozen=True)
class Settings:
    """What a run was asked to do. Files are read on first use and bad ones raise UsageError."""

    profile: str
    cells: str
    cell_ids: tuple[str, ...]
    required: tuple[str, ...]
    report_dir: Path
    fixture_cache: Path
    checkpoint_arguments: tuple[str, ...]
    folders: Mapping[str, Path]  # the user's checkpoints that are columns of their own, by name
    architecture_folder: Path | None
    expectation_path: Path | None
    waiver_path: Path | None
    cell_timeout: float
    trust_remote_code: bool
    fault: str | None
    seed: int
    stack: Stack
    dials: bool = True  # whether errors are judged by their direction, too
    costs: bool = False  # whether right cells are timed beside their twins
    shard: Shard | None = None
    only: frozenset[str] | None = None  # cell ids and keys of rows
    fixtures_of: Path | None = None  # the report of the run whose fixtures eager rows load
    planned: tuple[str, ...] = ()  # ids of the cells, where somebody else has chosen them

    @cached_property
    def architectures(self) -> dict[str, Architecture]:
        """All architectures by name; those that nobody typed where the plan has some of them."""
        return architectures_for(
            self.architecture_folder,
            self.fixture_cache,
            profile=self.profile,
            cells=self.cells,
            cell_ids=self.cell_ids,
            checkpoints=self.folders,
        )

    @cached_property
    def regressions(self) -> dict[str, Regression]:
        """The reported failures by name."""
        return load_regressions()

    @cached_property
    def guide(self) -> Guide:
        """The guide's recipes and requirements."""
        return load_guide()

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The expectations."""
        return load_rules(self.architectures, self.expectation_path)

    @cached_property
    def waivers(self) -> tuple[Waiver, ...]:
        """The waivers."""
        return load_waivers(self.architectures, self.waiver_path)

    @cached_property
    def checkpoints(self) -> dict[str, str]:
        """The user's checkpoints by architecture."""
        return parse_checkpoints(self.checkpoint_arguments, self.architectures, self.folders)

    @cached_property
    def fixtures(self) -> dict[str, str]:
        """The fixtures that eager rows load instead of their own, by architecture."""
        if self.fixtures_of is None:
            return {}
        rows = read_report(self.fixtures_of).rows
        found = {row.name: row.eager.fixture for row in rows if row.eager is not None}
        if not found:
            raise UsageError(f"--fixtures-of {self.fixtures_of}: has no row of eager attention")
        return found

    @cached_property
    def parameters(self) -> dict[str, int]:
        """How many parameters each checkpoint has that is a folder, by architecture."""
        return {name: parameters_of(Path(path)) for name, path in self.checkpoints.items() if Path(path).is_dir()}

    @cached_property
    def plan(self) -> list[Cell]:
        """The cells of this run, in order."""
        if self.planned:
            return [parse_cell(cell_id) for cell_id in self.planned]
        if self.cell_ids:
            cells = [named_cell(cell_id, self.architectures) for cell_id in self.cell_ids]
        else:
            narrow = parse_selection(self.cells, self.architectures) if self.cells else None
            cells = make_plan(self.profile, self.architectures, narrow)
        return [cell for cell in cells if self.only is None or cell.id in self.only]

    @cached_property
    def decisive(self) -> dict[str, str]:
        """What was asked for beside plan, seed and requirements that may change a verdict; files by their digest."""
        asked = {
            "--fault": self.fault or "",
            "--cell-timeout": f"{self.cell_timeout:g}",
            "--no-dials": "" if self.dials else "on",
            "--trust-remote-code": "on" if self.trust_remote_code else "",
            "--expectations": _digest(self.expectation_path),
            "--waivers": _digest(self.waiver_path),
            "--architectures": _digest(self.architecture_folder),
            "--fixtures-of": _digest(self.fixtures_of),
        }
        return {option: value for option, value in asked.items() if value}

    @property
    def narrowed(self) -> str:
        """What narrowed the profile, or empty."""
        if len(self.cell_ids) > _IDS_SHOWN:
            return f"{len(self.cell_ids)} cells by id"
        return " ".join(self.cell_ids) or self.cells

    def check(self) -> None:
        """Read and validate everything that is text.

        Raises:
            UsageError: the first thing that is wrong.
        """
        for name in self.required:
            if name not in REQUIREMENTS:
                raise UsageError(f"--require {quoted(name)}: allowed are {enumerated(REQUIREMENTS)}")
        if not 0 < self.cell_timeout <= LONGEST_TIMEOUT:  # which of nan is not true either
            raise UsageError(
                f"--cell-timeout {self.cell_timeout:g}: must be more than 0 seconds, and at most {LONGEST_TIMEOUT:,}"
            )
        if not 0 <= self.seed <= LARGEST_SEED:
            raise UsageError(f"--seed {quoted(self.seed)}: must be from 0 to {LARGEST_SEED}")
        if self.fault is not None:
            from conformance.faults import find  # imports torch, which only a run with a fault has to bear here

            find(self.fault)
        # Every cached property reads its files here, once, before any model is loaded.
        _ = self.rules, self.waivers, self.parameters, self.plan, self.fixtures

    def check_hub(self) -> None:
        """Ask the hub for the model_type of checkpoints that are no folders.

        Raises:
            UsageError: one cannot be had, or is of another architecture.
        """
        for name, checkpoint in self.checkpoints.items():
            if not Path(checkpoint).is_dir():
                check_hub_model(checkpoint, self.architectures[name])


def settings_from(
    config: pytest.Config, stack: Stack | None = None, report_dir: str | None = None, plan: Iterable[str] | None = None
) -> Settings:
    """The settings of a pytest command line; a worker passes on what its controller found out.

    Raises:
        UsageError: a profile that does not exist, or anything that `Settings.check` finds.
    """
    stack = stack or detect_stack()
    option = config.option
    profile = option.profile or ("pairwise" if stack.device is Device.CUDA else "smoke")
    if profile not in load_profiles():
        raise UsageError(f"--profile {quoted(profile)}: allowed are {enumerated(load_profiles())}")
    if option.resume and option.report_dir:
        raise UsageError(f"--report-dir {option.report_dir}: the report of --resume goes to its own folder")
    shard = parse_shard(option.shard) if option.shard is not None else None
    # With the process, since two runs may begin in one second; jobs of an array may share a file system, not processes.
    part = f"-shard-{shard.number}-of-{shard.of}" if shard else ""
    usual = REPORTS / f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}{part}"
    root = config.invocation_params.dir
    resumed = _path(root, option.resume or None, "--resume")
    folder = report_dir or (resumed and resumed.resolve()) or option.report_dir or usual  # resolved for `latest`
    folder_of_architectures, cells = architectures_meant(root, option.architectures, option.cells)
    own = folders_by_name(option.checkpoint, load_architectures(folder_of_architectures)) if option.checkpoint else {}
    if own and not option.cell and "architecture=" not in cells:  # whoever brings a model means that one
        cells = f"{cells} architecture={','.join(own)}".strip()
    settings = Settings(
        profile=profile,
        cells=cells,
        cell_ids=tuple(option.cell),
        required=tuple(name.strip() for name in option.require.split(",") if name.strip()),
        report_dir=root / folder,
        fixture_cache=_path(root, option.fixture_cache, "--fixture-cache") or root,
        checkpoint_arguments=tuple(option.checkpoint),
        folders=own,
        architecture_folder=folder_of_architectures,
        expectation_path=_path(root, option.expectations, "--expectations"),
        waiver_path=_path(root, option.waivers, "--waivers"),
        cell_timeout=option.cell_timeout,
        trust_remote_code=option.trust_remote_code,
        fault=option.fault,
        seed=option.seed,
        stack=stack,
        dials=not option.no_dials,
        costs=option.costs,
        shard=shard,
        only=names_in(root, option.only),
        fixtures_of=report_file(root / option.fixtures_of) if option.fixtures_of else None,
        planned=tuple(plan or ()),
    )
    settings.check()
    return settings


def architectures_meant(root: Path, value: str | None, cells: str) -> tuple[Path | None, str]:
    """What --architectures names: a folder, or the selection narrowed to the architectures that patterns name.

    Raises:
        UsageError: it can be neither.
    """
    # Unlike Path.exists, it answers for a list that is longer than a name may be.
    if value is None or not _PATTERNS.fullmatch(value) or os.path.exists(root / value):
        return _path(root, value, "--architectures"), cells
    return None, f"{cells} architecture={value}".strip()


def _digest(path: Path | None) -> str:
    if path is None:
        return ""
    files = sorted(path.rglob("*.toml")) if path.is_dir() else [path]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:12]


def names_in(root: Path, value: str | None) -> frozenset[str] | None:
    """The cells and rows that the file of --only names.

    Raises:
        UsageError: it cannot be read, names none, or something that is neither.
    """
    if value is None:
        return None
    names = read_file(root / value).decode("utf-8", "replace").split()
    if not names:
        raise UsageError(f"--only {value}: names no cell and no row")
    for name in names:
        family, _, row = name.partition(":")
        if row and family in _FAMILIES:
            continue
        try:
            parse_cell(name)
        except UsageError as error:
            raise UsageError(f"--only {value}: {quoted(name)} is no cell and no row: {error}") from None
    return frozenset(names)


def _path(root: Path, value: str | None, option: str) -> Path | None:
    if value is None:
        return None
    try:
        path = root / Path(value).expanduser()
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # which whoever opens it says
        return path
    except OSError as error:  # longer than a name may be
        raise UsageError(f"{option} {quoted(value)}: {error.strerror}") from None
    except (RuntimeError, ValueError) as error:  # of no such user, or characters that no path has
        raise UsageError(f"{option} {quoted(value)}: {error}") from None
    return path


def with_joined_options(params: pytest.Config.InvocationParams) -> pytest.Config.InvocationParams:
    """The arguments that xdist hands to its workers, with `--option value` written `--option=value`.

    pytest looks for its ini file and conftest beside every argument that is an existing path and not yet
    known to be the value of an option. The report folder exists by the time a worker starts.
    """
    args: list[str] = []
    for argument in map(str, params.args):
        if args and args[-1] in _PATH_OPTIONS:
            args[-1] += f"={argument}"
        else:
            args.append(argument)
    return pytest.Config.InvocationParams(args=args, plugins=params.plugins, dir=params.dir)
