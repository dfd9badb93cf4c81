"""A report as a repository keeps it: packed, one for each stack and profile, the same bytes for the same content."""

import json
import os
import re
from pathlib import Path

from matrix.errors import UsageError
from matrix.stack import Stack
from reports.document import Run
from reports.files import write_whole
from reports.packed import SUFFIX, packed, plain_name, read_plain, report_file
from reports.reading import read_report
from reports.text import device_of

_USUAL = "pairwise"  # the profile that a name leaves out
_MEMORY = re.compile(r"[ -]\d+ ?GB.*", re.IGNORECASE)  # NVIDIA H100 80GB HBM3


def keep(source: Path, output: Path) -> Path:
    """Pack the report of a run into a file, or under its own name into a folder, and say where.

    Its content is kept as it is: what another minor version of the schema has more or less is neither lost nor added.

    Raises:
        UsageError: the source is no report or cannot be read whole, has no name of its own where it needs one, or the
            file has another suffix, is the source itself, or cannot be written to.
    """
    source = report_file(source)
    if plain_name(source).endswith(".jsonl"):
        raise UsageError(f"{source}: the records of a run; python -m reports render makes the matrix.json to keep")
    report = read_report(source)
    if report.unreadable:
        raise UsageError(
            f"{source}: cannot be read whole: {report.unreadable[0]}; python -m reports validate {source} names all"
        )
    to_folder = os.path.isdir(output)  # unlike Path.is_dir it answers for what can be no path
    if report.cut_off and to_folder:
        raise UsageError(f"{source}: {report.cut_off}; give it a name with --output NAME{SUFFIX} to keep it as it is")
    target = output / f"{kept_name(report.run)}{SUFFIX}" if to_folder else output
    if not target.name.endswith(SUFFIX) or target.resolve() == source.resolve():
        raise UsageError(f"--output {output}: must be a folder, or a file that ends in {SUFFIX} and is not the source")
    try:
        # By Python's own library, which writes a float alike in every release; pydantic does not promise that.
        text = json.dumps(json.loads(read_plain(source)), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        content = packed(f"{text}\n".encode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source}: holds what no report may: {error}") from None
    try:
        write_whole(target, content)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written to: {error.strerror}") from None
    return target


def kept_name(run: Run) -> str:
    """The name of a whole profile on a stack: `nvidia-h100-torch2.11.0-transformers5.17.0`, `-guide` behind it.

    Raises:
        UsageError: the run is a part of a profile, which may not take the place of the whole.
    """
    if run.shard is not None:
        raise UsageError(f"shard {run.shard} of a plan has no name of its own: merge it with the others first")
    if run.narrowed or not (run.planned or run.guide):
        part = f"narrowed by {run.narrowed[:80]}" if run.narrowed else "without cells"
        raise UsageError(f"a run {part} has no name of its own: give it one with --output NAME{SUFFIX}")
    releases = [
        f"{name}{run.stack.versions[name].partition('+')[0]}"
        for name in ("torch", "transformers")
        if name in run.stack.versions
    ]
    profile = [] if run.profile == _USUAL else [run.profile]
    name = "-".join([_device(run.stack), *releases, *profile]).lower()
    return re.sub(r"[^a-z0-9.]+", "-", name)[:100].strip("-.") or "run"


def _device(stack: Stack) -> str:
    several = f"x{len(stack.gpus)}" if len(stack.gpus) > 1 else ""
    return _MEMORY.sub("", device_of(stack)) + several
