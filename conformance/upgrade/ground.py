"""What both sides of a comparison must stand on alike, and what is measured again when a command goes on."""

import platform
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.plugin.recording import commit_of_suite
from conformance.upgrade.choices import How
from matrix.errors import UsageError
from matrix.stack import DISTRIBUTIONS, Stack
from reports.document import Run
from reports.gate import Allowed

_NAMED = 3


@dataclass(frozen=True)
class Ground:
    """What a side stands on."""

    device: str
    seed: int
    tests: tuple[str, ...]  # cells by id, then rows by key
    options: Mapping[str, str] | None = None  # that may change a verdict; None where nobody knows them yet


def facts_of(
    arguments: Sequence[str], versions: Mapping[str, str], how: How, find_links: Path | None
) -> dict[str, str]:
    """What must be the same for what was measured before to count.

    Args:
        arguments: of pytest.
        versions: of what is installed in the current environment, by name.
        how: the candidates are built, and from which folder of wheels.
        find_links: that folder; None for an index.
    """
    return {
        "what pytest was asked for": shlex.join(arguments),
        "the current stack": ", ".join(f"{name} {versions[name]}" for name in DISTRIBUTIONS if name in versions),
        "Python": platform.python_version(),
        "the commit of the suite": commit_of_suite(),
        "--how": how,
        "--find-links": str(find_links.absolute()) if find_links else "",
    }


def device_of(stack: Stack) -> str:
    """The device, and what of it decides which kernels run."""
    gpus = Counter(gpu.name for gpu in stack.gpus)
    named = [f"{count} × {name}" for name, count in gpus.items()] or list(stack.cpu_flags)
    return f"{stack.device.value} ({', '.join(named)})" if named else stack.device.value


def ground_of(run: Run) -> Ground:
    """That of a run, or of the whole of which it is a part."""
    tests = [*run.shard.planned, *run.shard.planned_rows] if run.shard else [*run.planned, *run.planned_rows]
    options = {"checkpoint": ", ".join(sorted(run.checkpoints)), **run.options}
    return Ground(device_of(run.stack), run.seed, tuple(tests), {name: of for name, of in options.items() if of})


def refuse_other_ground(before: Ground, after: Ground, allowed: Collection[Allowed], source: object) -> None:
    """Hold the candidate's side against a report that stands in for the current one.

    Raises:
        UsageError: what differs and is not allowed.
    """
    for what, difference in differences(before, after):
        if what not in allowed:
            raise UsageError(f"--from {source}: {difference}; --allow {what} compares them all the same")


def differences(before: Ground, after: Ground) -> Iterator[tuple[Allowed, str]]:
    """What is not the same on both sides, in words."""
    if before.device != after.device:
        yield Allowed.DEVICE, f"it was measured on {before.device}, and here is {after.device}"
    if before.seed != after.seed:
        yield Allowed.SEED, f"it was measured with --seed {before.seed}, this with {after.seed}"
    gone = [test for test in before.tests if test not in set(after.tests)]
    added = [test for test in after.tests if test not in set(before.tests)]
    if gone or added:
        told = [f"holds {_some(gone)} that this one lacks"] if gone else []
        told += [f"lacks {_some(added)} that this one holds"] if added else []
        yield Allowed.PLAN, f"its plan {' and '.join(told)}"
    if before.options is not None and after.options is not None and before.options != after.options:
        yield Allowed.PLAN, f"it was asked for {_listed(before.options)}, this for {_listed(after.options)}"


def _some(tests: Sequence[str]) -> str:
    more = f", … {len(tests) - _NAMED:,} more" if len(tests) > _NAMED else ""
    return f"{len(tests):,} of its tests ({', '.join(tests[:_NAMED])}{more})"


def _listed(options: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "nothing else"
