"""`python -m matrix minimise`: from a failing cell to a script that fails as it does."""

import logging
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from conformance.minimising.case import Case, change, simpler
from conformance.minimising.script import LINES, script_of
from conformance.minimising.symptom import Clinic, Symptom, plain_model
from conformance.models.batches import LENGTHS, takes_positions
from conformance.spellings import cache_argument, quieten
from conformance.workloads import continued, generate
from matrix.architectures import Architecture
from matrix.cell import Cell
from matrix.errors import UsageError
from matrix.installed import FIXTURE_CACHE
from matrix.reproduce import reproducing_script
from matrix.stack import Device, Stack
from matrix.verdict import Verdict

_LONGEST_TITLE = 112  # characters, in quotes on one line
_SECONDS = 300  # that a script may take
_PATIENCE = 180  # seconds of shrinking: what has to be compiled for each case takes its time


def minimised(cell: Cell, architecture: Architecture, stack: Stack, issue: bool) -> tuple[str, list[str]]:
    """The script (as an issue, the whole text of it), and what was done, in lines.

    Raises:
        UsageError: the cell does not fail here.
    """
    logging.disable(logging.WARNING)
    quieten()
    clinic, told = Clinic(architecture, stack, FIXTURE_CACHE.expanduser()), []
    inputs = str(cell.workload.inputs.value)
    new_tokens = {"generate": generate.NEW_TOKENS, "continued": continued.NEW_TOKENS}.get(str(cell.workload), 4)
    case = Case(cell, dict(architecture.config), LENGTHS[inputs], new_tokens)
    wanted = clinic.symptom(case, dials=True)
    if wanted is None:
        raise UsageError(
            f"cell {cell.id} does not fail on this stack with plain weights: `python -m matrix reproduce` runs it on "
            "the fixture's own"
        )
    smallest, tried = reduced(case, wanted, clinic)
    told.append(f"{cell.id}: {wanted.reason}")
    left = f"{smallest.cell.id}, {dict(smallest.config)}, rows of {', '.join(map(str, smallest.lengths))} tokens"
    told.append(f"{tried} smaller cases tried; left of it: {left}")
    model = plain_model(architecture)
    for chosen in (smallest, case):
        text = _script(chosen, architecture, model, wanted, stack)
        if text is not None and _shows(text, wanted):
            break
    else:
        told.append("no short script shows it: here is the whole one")
        text = reproducing_script(cell, architecture, found=wanted.reason)
    count = len(text.splitlines())
    told.append(f"{count} lines" + (f", more than {LINES}" if count > LINES else ""))
    return (_as_issue(text, cell, wanted, tried, stack) if issue else text), told


def reduced(case: Case, wanted: Symptom, clinic: Clinic) -> tuple[Case, int]:
    """The smallest case found by single steps, each of which fails in the same way; and how many were tried.

    A step that was in vain is not tried again before all others have been; after _PATIENCE seconds no more are.
    """
    tried, shrinks, end = 0, True, time.monotonic() + _PATIENCE
    while shrinks:
        shrinks, vain = False, set[str]()
        while step := next((one for one in simpler(case) if change(case, one) not in vain), None):
            if time.monotonic() > end:
                return case, tried
            tried += 1
            found = clinic.symptom(step)
            # A plain pass has other rows and tokens: there it is the module alone that must be the same.
            if found is not None and wanted.same(found, pattern=step.cell.workload is case.cell.workload):
                case, wanted, shrinks = step, found, True
            else:
                vain.add(change(case, step))
    return case, tried


def _script(case: Case, architecture: Architecture, model: Any, symptom: Symptom, stack: Stack) -> str | None:
    decodes = str(case.cell.workload) in ("generate", "continued", "stepwise", "chunked_prefill")
    return script_of(
        case,
        architecture,
        symptom.verdict,
        title_of(case.cell, symptom),
        cache_argument=cache_argument(model) if decodes else "past_key_values",
        positions=takes_positions(model),
        cuda=stack.device is Device.CUDA,
    )


def title_of(cell: Cell, symptom: Symptom) -> str:
    """The first line of a script: as much of what is wrong as it has room for, the dial last."""
    short = f"{cell.architecture}, {cell.workload}: {symptom.verdict}"
    where = f"{short} in {symptom.where}{f', {symptom.pattern}' if symptom.pattern else ''}"
    titles = (f"{where}: {symptom.dial}" if symptom.dial else where, where)
    return next((title for title in titles if len(title) < _LONGEST_TITLE), short)


def _shows(text: str, symptom: Symptom) -> bool:
    """Whether the script says that the fault is there, and raises no other exception than the one it is to show."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reproduce.py"
        path.write_text(text, encoding="utf-8")
        command = [sys.executable, str(path)]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=folder)
    # A script that itself goes wrong ends with 1 too, but with a traceback.
    named = f"seen: {symptom.where.partition(' ')[0]} " if symptom.verdict is Verdict.ERROR else "row 0: off by"
    return answer.returncode == 1 and named in answer.stdout and "Traceback" not in answer.stderr


def _as_issue(text: str, cell: Cell, symptom: Symptom, tried: int, stack: Stack) -> str:
    named = ", ".join(f"{name} {version}" for name, version in stack.versions.items())
    what = "raises" if symptom.verdict is Verdict.ERROR else "gives wrong logits"
    title = f"# {cell.architecture} {what}: {symptom.where}{f' ({symptom.pattern})' if symptom.pattern else ''}"
    reason = re.sub(r"\s+", " ", symptom.reason)
    return (
        f"{title}\n\n{reason}\n\nStack: {named}, {stack.device.value}.\n\nThe script was made by delta debugging "
        f"({tried} smaller models and inputs tried, each held against eager attention in higher precision) and exits "
        f"with 1 while the fault is there:\n\n```python\n{text}```\n"
    )
