"""Looking at cells and at this environment: `python -m matrix list`, `explain`, `doctor`. Never imports torch."""

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from conformance.upgrade.choices import How, Question
from matrix.advice.wanted import Prefer, Wanted, parse_batches, parse_memory
from matrix.architectures import load_architectures
from matrix.checkpoints import folders_by_name, parse_checkpoints
from matrix.command_line import run, say
from matrix.doctor import diagnosis
from matrix.errors import UsageError, quoted
from matrix.expectation import load_rules
from matrix.explain import explain as explain_cell
from matrix.installed import FIXTURE_CACHE, PROFILE, architectures_for
from matrix.plan import load_profiles, make_plan, named_cell
from matrix.releases import parse_companions, parse_range
from matrix.reproduce import reproducing_script
from matrix.selection import parse_selection
from matrix.shard import Shard, divide, parse_shard
from matrix.stack import detect_stack
from matrix.waiver import load_waivers

app = typer.Typer(help="The cells of the support matrix.", no_args_is_help=True, add_completion=False)

_WITH = 'what goes with a part of the range: "transformers<4.50: peft==0.15.2 accelerate==1.4.0"; may be repeated'
CellId = Annotated[str, typer.Argument(help="the id of a cell, as in reports and in `list`")]
ReportOfRun = Annotated[Path | None, typer.Option("--report", help="the folder of a run with the cell, or its report")]
ArchitectureFolder = Annotated[Path | None, typer.Option("--architectures", help="a folder of further architectures")]


@app.command("list")
def list_cells(
    profile: Annotated[str, typer.Option(help="the plan to list")] = "full",
    cells: Annotated[str, typer.Option(help='narrow it: "architecture=llama dtype=bfloat16"')] = "",
    shard: Annotated[str, typer.Option(help="those of one of N shards: I/N")] = "",
    architectures: ArchitectureFolder = None,
) -> None:
    """List the ids of a plan's cells, one a line."""
    part = parse_shard(shard) if shard else Shard(1, 1)
    known = architectures_for(architectures, FIXTURE_CACHE.expanduser(), profile=profile, cells=cells)
    narrow = parse_selection(cells, known) if cells else None
    plan = make_plan(profile, known, narrow)
    numbers = divide(plan, (), part.of)[0] if shard else [1] * len(plan)
    if part.number not in numbers:
        raise UsageError(f"--shard {part}: none of the {len(plan):,} cells is in it")
    for cell, number in zip(plan, numbers, strict=True):
        if number == part.number:
            typer.echo(cell.id)


@app.command()
def profiles() -> None:
    """List the profiles with their sizes."""
    known = load_architectures()
    for profile in load_profiles().values():
        size = "" if profile.name == PROFILE else len(make_plan(profile.name, known))  # that of the installed library
        typer.echo(f"{profile.name:10} {size:6}  {profile.about}")


@app.command()
def doctor() -> None:
    """Say which GPUs, attention kernels, quantisers and caches can be tried here, and what would bring the others."""
    for line in diagnosis(detect_stack(), load_rules(load_architectures())):
        say(line)


@app.command()
def explain(
    cell: CellId,
    architectures: ArchitectureFolder = None,
    expectations: Annotated[Path | None, typer.Option(help="a file or folder of your expectations")] = None,
    waivers: Annotated[Path | None, typer.Option(help="a file or folder of your waivers")] = None,
    report: ReportOfRun = None,
) -> None:
    """Say what a cell loads and does, what should happen on this stack, and where that is documented.

    With --report also what that run found: of wrong numbers which dials of attention explain how much, and where they
    begin.
    """
    known = architectures_for(architectures, FIXTURE_CACHE.expanduser(), cell_ids=[cell])
    found = named_cell(cell, known)
    rules, waived = load_rules(known, expectations), load_waivers(known, waivers)
    lines = [*explain_cell(found, known, detect_stack(), rules, waived)]
    if report is not None:
        told = import_module("reports.found")  # reads reports, which takes time
        lines += told.found_lines(*told.read_cell(report, found.id))
    for line in lines:
        say(line)


@app.command()
def reproduce(
    cell: CellId,
    checkpoint: Annotated[list[str] | None, typer.Option(help="as in the run")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32, help="as in the run")] = 0,
    architectures: ArchitectureFolder = None,
    report: ReportOfRun = None,
) -> None:
    """Print a standalone script for a cell that needs only torch and transformers (and what the cell names).

    With --report it says in a comment which dials of attention explain the wrong numbers that the run found.
    """
    given, cache = checkpoint or [], FIXTURE_CACHE.expanduser()
    folders = folders_by_name(given, load_architectures(architectures))
    known = architectures_for(architectures, cache, cell_ids=[cell], checkpoints=folders)
    found = named_cell(cell, known)
    checkpoints = parse_checkpoints(given, known, folders)
    why = ""
    if report is not None:
        told = import_module("reports.found")
        _, record = told.read_cell(report, found.id)
        why = told.why_wrong(record)
    script = reproducing_script(found, known[found.architecture], checkpoints.get(found.architecture), seed, why)
    typer.echo(script, nl=False)


@app.command()
def minimise(
    cell: CellId,
    issue: Annotated[bool, typer.Option("--issue", help="with title, versions and what was tried")] = False,
    architectures: ArchitectureFolder = None,
) -> None:
    """Make a failing cell small, and print a script of at most 40 lines that fails while the fault is there.

    Layers, width, heads, vocabulary, rows, tokens, dtype, padding, quantisation and options of the config are given up
    one by one, as long as the cell fails in the same way: in the same class of module and pattern, or the same frame.
    """
    known = architectures_for(architectures, FIXTURE_CACHE.expanduser(), cell_ids=[cell])
    found = named_cell(cell, known)
    # Torch comes in here: whoever plans and explains needs none.
    minimised = import_module("conformance.minimising.command").minimised
    text, told = minimised(found, known[found.architecture], detect_stack(), issue)
    for line in told:
        say(line, err=True)
    typer.echo(text, nl=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def cluster(
    context: typer.Context,
    address: Annotated[str | None, typer.Option(help="of a Ray cluster; default: RAY_ADDRESS, or none")] = None,
    report_dir: Annotated[Path | None, typer.Option(help="where the report goes; default: reports/out/<time>")] = None,
    blocks: Annotated[int | None, typer.Option(min=1, help="how many tasks; default: two a slot")] = None,
) -> None:
    """Run a plan on a Ray cluster: a task for each block of cells, one report for each model of GPU.

    Every other option is pytest's: --profile, --cells, --seed, --cell-timeout, --require and the rest, as in a run.
    """
    command = import_module("conformance.cluster.command")  # Ray is an extra
    wanted = command.Wanted(tuple(context.args), address, report_dir, blocks)
    if not command.run_on_cluster(wanted, say):
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def upgrade(
    context: typer.Context,
    to: Annotated[list[str] | None, typer.Option("--to", help="name==version; may be repeated")] = None,
    before: Annotated[str, typer.Option("--from", help="a stored report in place of the current side")] = "current",
    how: Annotated[How, typer.Option(help="how to build the candidate; auto: uv where it is, else pip")] = How.AUTO,
    find_links: Annotated[Path | None, typer.Option(help="a folder of wheels, in place of an index")] = None,
    allow: Annotated[str, typer.Option(help="what may differ: device, plan, seed, separated by commas")] = "",
    policy: Annotated[Path | None, typer.Option(help="what counts; default: pyproject.toml here")] = None,
    form: Annotated[str, typer.Option("--format", help="of the verdict: text, markdown, json, github")] = "text",
    report_dir: Annotated[
        Path | None, typer.Option("--report-dir", "-o", help="default: reports/out/upgrade-NAME-VERSION")
    ] = None,
    blocks: Annotated[int | None, typer.Option(min=1, help="in how many parts both sides are measured in turn")] = None,
    advice: Annotated[
        list[Path] | None,
        typer.Option(help="an advice.json: does it hold in the candidate? may be repeated"),
    ] = None,
    blame: Annotated[bool, typer.Option("--blame", help="which package change brings each regression")] = False,
    bisect: Annotated[bool, typer.Option("--bisect", help="since which release each regression shows")] = False,
    sweep: Annotated[str, typer.Option(help="the last patch of every minor in a range: transformers>=4.48,<5")] = "",
    beside: Annotated[list[str] | None, typer.Option("--with", help="of --sweep: " + _WITH)] = None,
) -> None:
    """Say whether an upgrade is safe: measure the candidate beside what is here, and exit with 0 if nothing regressed.

    The candidate's environment is built in the report's folder, with the named releases and what they need. Exit code
    1: regressions; 2: could not tell. What was ended goes on with the same command. Every other option is pytest's.
    """
    if sweep:
        if to or before != "current" or blame or bisect:
            raise UsageError("--sweep: measures releases one by one; leave out --to, --from, --blame and --bisect")
        if allow or policy or form != "text" or blocks or advice:
            raise UsageError("--sweep: gives no verdict; leave out --allow, --policy, --format, --blocks and --advice")
        sweeping = import_module("conformance.upgrade.sweep")
        over = sweeping.Range(
            of=parse_range(sweep),
            companions=tuple(map(parse_companions, beside or ())),
            arguments=tuple(context.args),
            how=how,
            find_links=find_links,
            report_dir=report_dir,
        )
        raise typer.Exit(0 if sweeping.sweep(over, say) else 1)
    if beside:
        raise UsageError(f"--with {quoted(beside[0])}: goes with a part of --sweep's range; name more with --to")
    command = import_module("conformance.upgrade.command")  # reads reports, which takes time
    questions = {Question.BLAME: blame, Question.BISECT: bisect}
    wanted = command.Wanted(
        pins=command.pins_of(to or ()),
        arguments=tuple(context.args),
        before=None if before == "current" else Path(before),
        how=how,
        find_links=find_links,
        allowed=import_module("reports.gate").parse_allowed(allow),
        report_dir=report_dir,
        blocks=blocks,
        questions=frozenset(question for question, asked in questions.items() if asked),
        advice=tuple(advice or ()),
    )
    raise typer.Exit(command.gated(wanted, policy, form, say, partial(say, err=True)))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bisect(
    context: typer.Context,
    releases: Annotated[str, typer.Argument(help='a package and a range: "transformers>=4.48,<5.25"')],
    cell: Annotated[list[str] | None, typer.Option(help="the id of a cell; may be repeated")] = None,
    row: Annotated[list[str] | None, typer.Option(help="family:name of a row; may be repeated")] = None,
    probe: Annotated[Path | None, typer.Option(help="a script that ends with 0 or 1, else nothing can be told")] = None,
    beside: Annotated[list[str] | None, typer.Option("--with", help=_WITH)] = None,
    how: Annotated[How, typer.Option(help="how to build environments; auto: overlay")] = How.AUTO,
    find_links: Annotated[Path | None, typer.Option(help="a folder of wheels, in place of an index")] = None,
    report_dir: Annotated[
        Path | None, typer.Option("--report-dir", "-o", help="default: reports/out/bisect-NAME")
    ] = None,
) -> None:
    """Say since which release of a package a cell, a row or a probe is what it is; exit with 1 if it never changed.

    Each release is tried in an environment that shadows the current one. Every other option is pytest's.
    """
    since = import_module("conformance.upgrade.since")
    sought = since.Sought(
        of=parse_range(releases, "bisect"),
        names=since.names_of(cell or (), row or ()),
        probe=probe,
        companions=tuple(map(parse_companions, beside or ())),
        arguments=tuple(context.args),
        how=how,
        find_links=find_links,
        report_dir=report_dir,
    )
    if not since.bisected(sought, say):
        raise typer.Exit(1)


@app.command()
def advise(
    path: Annotated[Path, typer.Argument(help="a checkpoint's folder, or a config.json alone")],
    prompt: Annotated[int, typer.Option(min=1, max=2**20, help="tokens that go in")] = 2048,
    new: Annotated[int, typer.Option(min=1, max=2**20, help="tokens that come out, of what generates")] = 256,
    batch: Annotated[str, typer.Option(help="rows at a time: 1,8")] = "1,8",
    memory: Annotated[str, typer.Option(help="that it may take at most: 24GiB")] = "",
    loss: Annotated[float, typer.Option(min=0, help="nats a position that quantisation may cost")] = 0.01,
    prefer: Annotated[Prefer, typer.Option(help="what it should be the best in")] = Prefer.LATENCY,
    cells: Annotated[str, typer.Option(help='try no others: "dtype=bfloat16 quantisation=none"')] = "",
    minutes: Annotated[float, typer.Option(min=0.1, max=24 * 60, help="about how long it may measure")] = 8.0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="default: reports/out/advice-NAME-…")] = None,
    check: Annotated[Path | None, typer.Option(help="an advice.json: does it still hold?")] = None,
) -> None:
    """Say what to run: the call to paste, what it gains, and why not the other configurations.

    Each is held against the truth on this model first; only what is right is timed. What was measured is kept, and the
    same command goes on. With --check the exit code is 1 where the advice does not hold any more; of what was advised
    the file says the options. Where nothing can be advised it is 1, too.
    """
    wanted = Wanted(prompt, new, parse_batches(batch), parse_memory(memory) if memory else None, loss, prefer)
    command = import_module("conformance.advising.command")  # reads reports, which takes time
    asked, told = command.Asked(path, wanted, minutes, output, cells), partial(say, err=True)
    if check is not None:
        held, _ = command.check(asked, check, told)
        raise typer.Exit(0 if held else 1)
    advice = command.advise(asked, told)
    for line in import_module("reports.advice").advice_lines(advice):
        say(line)
    if advice.advised is None:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    run(app)


if __name__ == "__main__":
    main()
