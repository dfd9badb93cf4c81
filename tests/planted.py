"""Does the gate tell an upgrade that does nothing from one that does something? `python -m tests.planted [-o FOLDER]`.

The same plan is run again and again in this environment. Each run and the next are the two sides of an upgrade that
changes nothing, which must be called safe. Then something is planted into a candidate, one kind after the other, and
must be named. Time and memory are told from repeated runs of either side. Ends with 1 where anything is not so.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from conformance.upgrade.environments import Current, Environment
from conformance.upgrade.sides import measure
from matrix.stack import Device, detect_stack
from reports.differences import Aspect, Kind
from reports.document import Report
from reports.gate import Allowed, Answer, Gate, judge

_PLAN = ("--cells", "architecture=gpt2,llama,t5 quantisation=none attention=eager,sdpa,flash_attention_2")
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


def _told(name: str, gate: Gate, *, right: bool) -> int:
    """Prints what the gate says of one; how many are wrong."""
    print(f"{'as it must be' if right else 'WRONG'}: {name}: {gate.verdict}, of {gate.compared} cells")
    for line in (*gate.why, *gate.paces):
        print(f"    {line}")
    for cause in gate.groups:
        print(f"    {cause.kind}, {cause.aspect}: {cause.count} x {cause.cause}, such as {cause.example}")
    return 0 if right else 1


def _is_named(gate: Gate, aspect: Aspect) -> bool:
    return any(cause.aspect is aspect and cause.kind in (Kind.REGRESSION, Kind.CHANGE) for cause in gate.groups)


def main() -> int:
    """Run, judge and print; 1 where the gate was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--output", "-o", type=Path, default=Path("reports/out/planted"))
    parser.add_argument("--pairs", type=int, default=10, help="identical ones (default: %(default)s)")
    parser.add_argument("--kind", action="append", choices=list(_NAMES))
    known, others = parser.parse_known_args()
    plan, folder = (*_PLAN, *others), known.output  # of an option that is given twice the last one counts
    same = [_run(folder / f"same-{number:02}", plan) for number in range(known.pairs + 1)]
    wrong = 0
    for number, (one, other) in enumerate(pairwise(same), start=1):
        gate = judge([one], [other])
        wrong += _told(f"identical pair {number}", gate, right=gate.verdict is Answer.SAFE)
    kinds = known.kind or [kind for kind in _NAMES if kind != "memory" or detect_stack().device is Device.CUDA]
    for kind in kinds:
        aspect, times = _NAMES[kind]
        before, after = [same[-1]], [_run(folder / f"{kind}-0", plan, kind)]
        for number in range(1, times):  # in turn: a machine is faster at one time than at another
            before.append(_run(folder / f"{kind}-{number}-same", plan))
            after.append(_run(folder / f"{kind}-{number}", plan, kind))
        gate = judge(before, after, allowed=[Allowed.PLAN])  # --fault is another plan
        wrong += _told(kind, gate, right=_is_named(gate, aspect))
    print(f"{known.pairs} identical pairs and {len(kinds)} kinds of difference: {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
