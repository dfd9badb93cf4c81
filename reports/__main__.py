"""Reports without torch: `python -m reports render`, `diff`, `keep`, `publish`, `validate` and more."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from matrix.architectures import load_architectures
from matrix.command_line import run, say
from matrix.errors import UsageError
from matrix.waiver import load_waivers
from reports.advice import Advice
from reports.calibration import calibrate as calibration_of
from reports.calibration import calibration_lines, calibration_svg
from reports.compact import json_schema
from reports.costs import costs_of, toml_lines, took_time
from reports.declared import disagreement_line
from reports.diff import compare, markdown_lines, text_lines
from reports.document import Report
from reports.eager import compare_eager, eager_lines
from reports.explained import known_line
from reports.files import write_whole
from reports.flaky import flaky_cells, flaky_lines
from reports.found import fault_lines
from reports.gate import Format as GateFormat
from reports.gate import check_repeated, gate_lines, judge, parse_allowed
from reports.gate import headline as gate_headline
from reports.gate import json_schema as gate_schema
from reports.growth import growth_lines, growth_of, growth_svg
from reports.html import render_diff, render_gate, render_stacks
from reports.keep import keep
from reports.merge import architectures_of, merge, read_part
from reports.packed import plain_name, report_file
from reports.policy import read_policy
from reports.power import read_power
from reports.reading import read_report
from reports.runs import collect
from reports.site import publish
from reports.spent import spent_by, spent_lines
from reports.text import headline
from reports.write import write_html, write_json, write_summary

app = typer.Typer(
    help="Reports of the support matrix: each a matrix.json, packed or not, or the folder of a run.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def render(
    source: Annotated[Path, typer.Argument(help="a records.jsonl, or a matrix.json")],
    output: Annotated[Path | None, typer.Option(help="the folder to write to; default: beside the source")] = None,
) -> None:
    """Rebuild matrix.json and index.html from records; from a NAME.json the page NAME.html.

    Lines that cannot be read are named, the rest is kept.
    """
    source = report_file(source)
    report = read_report(source)
    folder = output or source.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if plain_name(source).endswith(".jsonl"):
            write_json(report, folder)
            page = write_html(report, folder)
        else:
            page = write_html(report, folder, source.name)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written to: {error.strerror}") from None
    for line in report.unreadable:
        say(f"unreadable: {line}", err=True)
    for line in (*disagreement_line(report), headline(report), str(page)):
        say(line)
    if report.cut_off:
        raise typer.Exit(1)


@app.command()
def calibrate(
    sources: Annotated[list[Path], typer.Argument(help="reports of honest runs: matrix.json files")],
    power: Annotated[list[Path] | None, typer.Option(help="what python -m conformance.power wrote")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="the plot; the numbers go beside it")] = Path(
        "calibration.svg"
    ),
) -> None:
    """Hold honest cells and seeded faults against this release's bounds: a table, a plot, and the numbers as JSON."""
    if output.suffix != ".svg":
        raise UsageError(f"--output {output}: must end in .svg")
    numbers = output.with_suffix(".json")
    sources = [report_file(source) for source in sources]
    if numbers.resolve() in {path.resolve() for path in [*sources, *(power or ())]}:
        raise UsageError(f"--output {output}: {numbers} beside it must be none of the sources")
    calibration = calibration_of(
        (read_report(source) for source in sources), [read_power(path) for path in power or ()]
    )
    try:
        write_whole(output, calibration_svg(calibration))
        write_whole(numbers, calibration.model_dump_json() + "\n")
    except OSError as error:
        raise UsageError(f"{output}: cannot be written to: {error.strerror}") from None
    for line in calibration_lines(calibration):
        say(line)


@app.command()
def spent(source: Annotated[Path, typer.Argument(help="the folder of a run, or its report")]) -> None:
    """Where the seconds of a run went: starting, importing, loading, running, waiting; by worker, with its memory."""
    found = spent_by(read_report(report_file(source)))
    if found is None:
        raise UsageError(f"{source}: does not say when its cells ran: reports before schema 2.0 don't")
    for line in spent_lines(found):
        say(line)


def refuse_cut_off(sources: list[Path], reports: list[Report]) -> None:
    """Raise UsageError for a run that ended before its end: what it says of a whole plan is nothing."""
    for source, report in zip(sources, reports, strict=True):
        if report.cut_off:
            raise UsageError(f"{source}: {report.cut_off}")


@app.command()
def growth(
    sources: Annotated[list[Path], typer.Argument(help="runs of one plan that differ in the number of their cells")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the picture")] = Path("growth.svg"),
) -> None:
    """How time grows with the number of cells: in all, to the first of them, and the rate after it."""
    if output.suffix != ".svg":
        raise UsageError(f"--output {output}: must end in .svg")
    reports = [read_report(report_file(source)) for source in sources]
    refuse_cut_off(sources, reports)
    found = growth_of(reports)
    try:
        write_whole(output, growth_svg(found))
    except OSError as error:
        raise UsageError(f"{output}: cannot be written to: {error.strerror}") from None
    for line in (*growth_lines(found), str(output)):
        say(line)


@app.command()
def costs(
    sources: Annotated[list[Path], typer.Argument(help="reports of whole runs, of as many devices as there are")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the table")] = Path("matrix/costs.toml"),
) -> None:
    """Make the table by which a plan is divided into shards of equal cost."""
    reports = [read_report(report_file(source)) for source in sources]
    refuse_cut_off(sources, reports)
    timeless = [str(source) for source, report in zip(sources, reports, strict=True) if not took_time(report)]
    if timeless:
        raise UsageError(f"{timeless[0]}: has no cell that took any time")
    found = costs_of(reports)
    try:
        write_whole(output, "\n".join(toml_lines(found)) + "\n")
    except OSError as error:
        raise UsageError(f"{output}: cannot be written to: {error.strerror}") from None
    say(
        f"{output}: {len(found.cells)} kinds of cells, {len(found.architectures)} architectures, {len(found.rows)} rows"
    )


@app.command()
def stacks(
    sources: Annotated[list[Path], typer.Argument(help="reports of runs on different stacks: matrix.json files")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the page")] = Path("stacks.html"),
) -> None:
    """The guide's recipes stack by stack, and what is right on one stack and wrong on another."""
    sources = [report_file(source) for source in sources]
    if output.resolve() in {path.resolve() for path in sources}:
        raise UsageError(f"--output {output}: is one of the sources")
    try:
        write_whole(output, render_stacks(map(read_report, sources)))
    except OSError as error:
        raise UsageError(f"{output}: cannot be written to: {error.strerror}") from None
    say(str(output))


class Document(StrEnum):
    """What has a JSON Schema."""

    REPORT = "report"
    GATE = "gate"
    ADVICE = "advice"


class Format(StrEnum):
    """How a comparison is told."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    HTML = "html"


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="the report of the old stack")],
    after: Annotated[Path, typer.Argument(help="that of the new one")],
    form: Annotated[Format, typer.Option("--format", help="how it is told")] = Format.TEXT,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a file to write to instead")] = None,
) -> None:
    """What an upgrade changed: versions, then what got worse, other, better, came and went, cause by cause."""
    before, after = report_file(before), report_file(after)
    if output is not None and output.resolve() in (before.resolve(), after.resolve()):
        raise UsageError(f"--output {output}: is one of the sources")
    old, new = read_report(before), read_report(after)
    for source, report in ((before, old), (after, new)):
        if report.cut_off:
            say(f"{source}: {report.cut_off}", err=True)
    found = compare(old, new)
    if form is Format.HTML:
        text = render_diff(found, old, new)
    elif form is Format.JSON:
        text = json.dumps(asdict(found), indent=1) + "\n"
    else:
        text = "\n".join(markdown_lines(found) if form is Format.MARKDOWN else text_lines(found)) + "\n"
    if output is None:
        # What a program reads is left as it is.
        (say if form in (Format.TEXT, Format.MARKDOWN) else typer.echo)(text.removesuffix("\n"))
        return
    try:
        write_whole(output, text)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written to: {error.strerror}") from None
    say(str(output))


@app.command()
def gate(
    before: Annotated[Path, typer.Argument(help="the report of the old stack")],
    after: Annotated[Path, typer.Argument(help="that of the new one")],
    policy: Annotated[
        Path | None,
        typer.Option(help="what counts: a TOML file; default: [tool.conformance.gate] of pyproject.toml here"),
    ] = None,
    allow: Annotated[str, typer.Option(help="what may differ: device, plan, seed, separated by commas")] = "",
    before_again: Annotated[list[Path] | None, typer.Option(help="a further run of the old stack; repeatable")] = None,
    after_again: Annotated[list[Path] | None, typer.Option(help="a further run of the new one; repeatable")] = None,
    form: Annotated[GateFormat, typer.Option("--format", help="how it is told")] = GateFormat.TEXT,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a file to write to instead")] = None,
) -> None:
    """Is an upgrade safe? Exit with 0 if it is, 1 if something got worse, 2 if it could not be told."""
    sides = [
        [report_file(source) for source in side]
        for side in ([before, *(before_again or ())], [after, *(after_again or ())])
    ]
    if output is not None and output.resolve() in {source.resolve() for side in sides for source in side}:
        raise UsageError(f"--output {output}: is one of the sources")
    asked = read_policy(policy)
    old, new = ([read_report(source) for source in side] for side in sides)
    for side, reports in zip(sides, (old, new), strict=True):
        check_repeated(list(zip(map(str, side), reports, strict=True)))
    found = judge(old, new, asked, parse_allowed(allow))
    told = [render_gate(found)] if form is GateFormat.HTML else list(gate_lines(found, form))
    if output is None:
        as_it_is = form in (GateFormat.JSON, GateFormat.HTML)
        (typer.echo if as_it_is else say)("\n".join(told))
    else:
        try:
            write_whole(output, "\n".join(told) + "\n")
        except OSError as error:
            raise UsageError(f"{output}: cannot be written to: {error.strerror}") from None
        say(gate_headline(found))
        say(str(output))
    raise typer.Exit(found.exit_status)


@app.command()
def eager(
    before: Annotated[Path, typer.Argument(help="the report of the old release")],
    after: Annotated[Path, typer.Argument(help="that of the new one, on the same bytes")],
) -> None:
    """What eager attention itself computes, release against release: equal, moved, weights lost, does not run any more.

    A move that is known is explained, and called a repair or a regression.
    """
    old, new = (read_report(report_file(source)) for source in (before, after))
    for source, report in ((before, old), (after, new)):
        if not any(row.eager for row in report.rows):
            raise UsageError(
                f"{source}: kept nothing of eager attention: run conformance/test_eager.py in that release"
            )
    was, now = (report.run.stack.versions.get("transformers", "none") for report in (old, new))
    say(f"transformers: {was} -> {now}")
    for side, report in (("before", old), ("after", new)):
        if report.cut_off:
            say(f"COULD NOT TELL {side}: {report.cut_off}")
    for line in eager_lines(compare_eager(old, new)):
        say(line)


@app.command("keep")
def keep_report(
    source: Annotated[Path, typer.Argument(help="the folder of a run, or its matrix.json")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="a NAME.json.gz, or a folder for one named by stack and profile")
    ] = Path("reports/published"),
) -> None:
    """Pack the report of a run, to be kept in a repository: the same content gives the same bytes."""
    kept = keep(source, output)
    say(f"{kept}: {kept.stat().st_size:,} bytes")


@app.command("merge")
def merge_shards(
    sources: Annotated[list[Path], typer.Argument(help="folders or files of the shards of one plan")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the folder of the whole")],
    waivers: Annotated[Path | None, typer.Option(help="as in the run")] = None,
    architectures: Annotated[Path | None, typer.Option(help="a folder of further architectures, as in the run")] = None,
) -> None:
    """Join the reports of shards into that of the whole plan; exit with 1 if something is missing or wrong with it.

    Whether cells fail is what the shards' own runs end with.
    """
    known = load_architectures(architectures)
    parts = {source.resolve(): read_part(source) for source in sources}  # `latest` is one of its neighbours
    known = architectures_of(parts.values(), known)
    report = merge(list(parts.values()), load_waivers(known, waivers), known)
    if output.resolve() in {place.resolve() for source in sources for place in (source, source.parent)}:
        raise UsageError(f"--output {output}: is the folder of one of the sources")
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_json(report, output)
        write_summary(report, output)
        page = write_html(report, output)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written to: {error.strerror}") from None
    for line in (*report.problems, *report.unreadable):
        say(f"problem: {line}", err=True)
    say(headline(report))
    say(str(page))
    if report.problems or report.unreadable:
        raise typer.Exit(1)


@app.command("publish")
def publish_site(
    folder: Annotated[Path, typer.Argument(help="a folder with reports, in it or in its folders")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the folder of the site")] = Path("site"),
) -> None:
    """Make a static site of many reports: an index, support by version, any two runs compared.

    What is no report is passed over; reports that cannot be read are named, on the site as well.
    """
    found = collect(folder, output)
    pages = publish(found, output)
    for problem in found.unreadable:
        say(f"unreadable: {problem}", err=True)
    for line in flaky_lines(flaky_cells(found.runs)):
        say(line)
    say(f"{len(found.runs)} {'run' if len(found.runs) == 1 else 'runs'}, {len(pages)} pages")
    say(str(output / "index.html"))


@app.command()
def validate(
    source: Annotated[Path, typer.Argument(help="a matrix.json, or a records.jsonl")],
    faults: Annotated[
        bool, typer.Option("--faults", help="list known faults that give wrong numbers, and which dials explain them")
    ] = False,
) -> None:
    """Say whether a file is a report that this suite can read, and what it holds; else what is wrong, and where."""
    report = read_report(source)
    say(f"{source}: a report of schema {report.schema_version}")
    say(headline(report))
    for line in fault_lines(report) if faults else known_line(report):
        say(line)
    for line in report.unreadable:
        say(f"unreadable: {line}", err=True)
    if report.unreadable:
        raise UsageError(f"{source}: {len(report.unreadable)} of its parts cannot be read")


@app.command()
def schema(
    of: Annotated[Document, typer.Option(help="which document")] = Document.REPORT,
) -> None:
    """Print the JSON Schema of matrix.json, or of what python -m reports gate or python -m matrix advise writes."""
    schemas = {Document.REPORT: json_schema, Document.GATE: gate_schema, Document.ADVICE: Advice.model_json_schema}
    typer.echo(json.dumps(schemas[of](), indent=1))


def main() -> None:
    """Run the command line."""
    run(app)


if __name__ == "__main__":
    main()
