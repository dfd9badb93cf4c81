"""Whether an advice holds in another environment: `python -m matrix advise --check` of this checkout, run there."""

from pathlib import Path

from conformance.upgrade.environments import Environment
from conformance.upgrade.sides import GO_ON, logged
from matrix.errors import UsageError
from reports.advice import Advice, read_advice

_JUDGED = (0, 1)  # it holds, or does not


def advised_again(environment: Environment, before: Advice, file: Path, folder: Path) -> Advice:
    """What is measured there of what was advised; what is in the folder already is taken as it is.

    Raises:
        UsageError: nothing could be measured.
        KeyboardInterrupt: somebody ended it; what was measured is kept.
    """
    found = folder / "advice.json"
    if not found.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        given = [Path(before.model.path).absolute(), "--check", file.absolute(), "--output", folder.absolute()]
        command = [str(environment.python), "-m", "matrix", "advise", *map(str, given)]
        output = folder.with_suffix(".txt")
        status = logged(command, environment.environ(), output, lambda line: None)
        if status not in _JUDGED or not found.is_file():
            said = output.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
            raise UsageError(f"{folder}: advise ended with {status}: {said[-1]}; {GO_ON}")
    return read_advice(found)
