"""Does the gate tell an upgrade that does nothing from one that does something? `python -m tests.planted [-o FOLDER]`.

The same plan is run again and again in this environment. Each run and the next are the two sides of an upgrade that
changes nothing, which must be called safe. Then something is planted into a candidate, one kind after the other, and
must be named. Time and memory are told from repeated runs of either side. Ends with 1 where anything is not so.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from conformance.upgrade.environments import Current, Environment
from conformance.upgrade.sides import measure
from matrix.stack import Device, detect_stack
from reports.differences import Aspect
from reports.document import Report
from reports.gate import Allowed, Answer, Gate, judge

_PLAN = ("--cells", "architecture=llama,t5 quantisation=none attention=eager,sdpa,flash_attention_2")
_FAULT = "fault"  # the suite's own, of a wrong scale
# What the gate must call it, and how many runs of a side it takes to tell.
_NAMES: dict[str, tuple[Aspect, int]] = {
    _FAULT: (Aspect.VERDICT, 1),
    "message": (Aspect.MESSAGE, 1),
    "refusal": (Aspect.FALLBACK, 1),
    "kernel": (Aspect.KERNELS, 1),
    "slower": (Aspect.TIME, 3),
    "memory": (Aspect.MEMORY, 3),
}


@dataclass(frozen=True)
class _Planted(Environment):
    """This environment, but for one thing."""

    kind: str = ""

    def environ(self) -> dict[str, str]:
        """With the variable that names it."""
        return super().environ() | {"PLANTED": self.kind}


def _run(place: Path, plan: Sequence[str], kind: str = "") -> Report:
    if kind in ("", _FAULT):
        return measure(Current(), place, (*plan, *(["--fault", "scale_2_percent"] if kind else ())))
    return measure(_Planted(Path(sys.executable), Path(__file__).with_name("planting"), kind=kind), place, plan)


def _told(name: str, gate: Gate, *, right: bool) -> str:
    print(f"{'as it must be' if right else 'WRONG'}: {name}: {gate.verdict}, of {gate.compared} cells")
    for line in (*gate.why, *gate.paces):
        print(f"    {line}")
    for cause in gate.groups:
        print(f"    {cause.kind}, {cause.aspect}: {cause.count} x {cause.cause}, such as {cause.example}")
    return "" if right else name


def _pairs(folder: Path, plan: Sequence[str], pairs: int) -> Iterator[str | Report]:
    runs = [_run(folder / f"same-{number:02}", plan) for number in range(pairs + 1)]
    for number, (one, other) in enumerate(pairwise(runs), start=1):
        gate = judge([one], [other])
        yield _told(f"identical pair {number}", gate, right=gate.verdict is Answer.SAFE)
    yield from runs


def main() -> int:
    """Run, judge and print; 1 where the gate was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--output", "-o", type=Path, default=Path("reports/out/planted"))
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--kind", action="append", choices=list(_NAMES))
    known, others = parser.parse_known_args()
    plan = tuple(others) or _PLAN
    (*told,) = _pairs(known.output, plan, known.pairs)
    wrong = [one for one in told if isinstance(one, str) and one]
    runs = [one for one in told if isinstance(one, Report)]
    kinds = known.kind or [kind for kind in _NAMES if kind != "memory" or detect_stack().device is Device.CUDA]
    for kind in kinds:
        aspect, times = _NAMES[kind]
        planted = [_run(known.output / f"{kind}-{number}", plan, kind) for number in range(times)]
        gate = judge(runs[:times], planted, allowed=[Allowed.PLAN])  # --fault is another plan
        wrong += [_told(kind, gate, right=aspect in {cause.aspect for cause in gate.groups})]
    wrong = [name for name in wrong if name]
    print(f"{known.pairs} identical pairs and {len(kinds)} kinds of difference: {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
