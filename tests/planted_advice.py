"""Is a wrong configuration ever advised? `python -m tests.planted_advice ADVICE.json... [--most 3] [--minutes 5]`.

Of each advice the configurations that came first are spoiled, one fault in each, and the same question is asked again:
none of them may be advised, called right or timed. One that the search no longer comes to tells nothing. Ends with 1
where anything is not so, or where none was found wrong.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from conformance.advising.command import Asked, advise
from matrix.advice.search import State
from reports.advice import Advice, read_advice

# Of the suite's own those that are done to weights, and leave a model as fast as it was.
KINDS = ("layer_repeated", "module_stale")
_UNTOLD = (State.NOT_REACHED, State.NOT_JUDGED, State.TIMEOUT)


def first_ones(advice: Advice, most: int) -> list[str]:
    """Which configurations came first, what was advised before all others."""
    return [entry.name for entry in advice.entries if entry.state is State.RIGHT and entry.figures][:most]


def became(spoiled: Mapping[str, str], now: Advice) -> dict[str, str]:
    """What each that was spoiled is now: wrong, as it must be; not told; or what it must not be."""
    entries = {entry.name: entry for entry in now.entries}
    found = {}
    for name in spoiled:
        entry = entries.get(name)
        if now.advised is not None and now.advised.name == name:
            found[name] = "ADVISED"
        elif entry is not None and entry.figures:
            found[name] = "TIMED"
        elif entry is None or entry.state in _UNTOLD:
            found[name] = "not told"
        else:
            found[name] = "wrong" if entry.state is State.WRONG else f"NOT WRONG, but {entry.state}"
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="ADVICE.json")
    parser.add_argument("--most", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("-o", "--output", type=Path, help="to go on there with what an earlier call measured")
    options = parser.parse_args(argv)
    output = options.output or Path(tempfile.mkdtemp(prefix="conformance-"))
    seen: Counter[str] = Counter()
    for file in options.files:
        before = read_advice(file)
        about = f"{before.model.name}, {before.asked.prefer}"
        spoiled = dict(zip(first_ones(before, options.most), cycle(KINDS), strict=False))
        asked = Asked(Path(before.model.path), before.asked.wanted, options.minutes, output / about, faults=spoiled)
        now = advise(asked, lambda line: print(f"  {line}", flush=True))
        found = became(spoiled, now)
        seen.update(found.values())
        for name, state in found.items():
            print(f"{about}: {name} with {spoiled[name]}: {state}", flush=True)
        print(f"{about}: advised is {now.advised.name if now.advised else 'nothing'}", flush=True)
    print(", ".join(f"{count} {state}" for state, count in seen.items()))
    return int(not seen["wrong"] or not seen.keys() <= {"wrong", "not told"})


if __name__ == "__main__":
    sys.exit(main())
