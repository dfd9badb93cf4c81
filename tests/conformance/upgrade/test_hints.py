"""Where to look first: the file of the module that went wrong, of two releases of which the sources are there."""

import sys
from dataclasses import replace
from pathlib import Path

from conformance.upgrade.environments import Environment
from conformance.upgrade.hints import hints
from matrix.cell import parse_cell
from matrix.observation import Ending, Evidence, Failure, Observation, Origin, Phase
from matrix.verdict import Verdict
from reports.document import Record
from tests.builders import completed, record_of
from tests.conformance.upgrade.world import CELL

OLD = """import torch


class ToyAttention(Base):
    def forward(self):
        return 1


class ToyModel(Base):
    pass
"""
ORIGIN = Origin("", 0, "layers.0", "ToyAttention", "everywhere", 1.0, 0.1, 0.2, 0.0, 0.1, brings=True)


def environment(folder: Path, text: str, version: str) -> Environment:
    """One that has a package, as an installer leaves it."""
    about = folder / f"toy_library-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toy-library\nVersion: {version}\n", encoding="utf-8")
    files = {
        "toy/__init__.py": "",
        "toy/models/toy.py": text,
        "toy/models/modular_toy.py": text,
        "toy/raising.py": version,
    }
    for place, content in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(content, encoding="utf-8")
    (about / "RECORD").write_text("".join(f"{place},,\n" for place in files), encoding="utf-8")
    return Environment(Path(sys.executable), folder)


def record(**seen: object) -> Record:
    return record_of(CELL, Verdict.INACCURATE, observation=replace(completed(parse_cell(CELL)), **seen))


def hinted(folder: Path, new: str, *records: Record | None) -> tuple[str, ...]:
    old, after = environment(folder / "old", OLD, "1.0"), environment(folder / "new", new, "1.1")
    return hints(records, ["toy-library"], old, after)


def test_the_class_that_went_wrong_is_named_with_its_file(tmp_path: Path) -> None:
    new = OLD.replace("return 1", "return 2")
    told = hinted(tmp_path, new, record(origin=ORIGIN))
    assert told == ("toy/models/toy.py: class ToyAttention differs in 1 line",)


def test_a_file_that_differs_elsewhere_is_said_to(tmp_path: Path) -> None:
    told = hinted(tmp_path, f"import math\nimport os\n{OLD}", record(origin=ORIGIN))
    assert told == ("toy/models/toy.py, which has class ToyAttention, differs in 2 lines",)


def test_what_does_not_differ_is_no_hint(tmp_path: Path) -> None:
    assert hinted(tmp_path, OLD, record(origin=ORIGIN)) == ()


def test_the_file_in_which_it_raises_stands_first(tmp_path: Path) -> None:
    frames = ("other/x.py:1 f", "toy/models/gone.py:3 g", "toy/raising.py:7 forward")
    failure = Failure(Phase.FORWARD, "ValueError", "no", frames=frames, module="layers.0", module_class="ToyModel")
    raised = record_of(CELL, Verdict.ERROR, observation=Observation(Ending.RAISED, failure=failure))
    told = hinted(tmp_path, OLD.replace("    pass", "    x = 1"), raised)
    assert told == (
        "toy/raising.py, in which it raises, differs in 1 line",
        "toy/models/toy.py: class ToyModel differs in 1 line",
    )


def test_where_nothing_went_wrong_the_attention_is_looked_at_and_what_was_before_where_nothing_ran(
    tmp_path: Path,
) -> None:
    right = record(evidence=Evidence(attention_classes=("ToyAttention",)))
    nothing = record_of(CELL, Verdict.ERROR, observation=Observation(Ending.CRASHED))
    told = hinted(tmp_path, OLD.replace("return 1", "return 2"), None, nothing, right)
    assert told == ("toy/models/toy.py: class ToyAttention differs in 1 line",)


def test_a_package_that_is_not_in_both_gives_no_hint(tmp_path: Path) -> None:
    old, new = environment(tmp_path / "old", OLD, "1.0"), Environment(Path(sys.executable))
    assert hints([record(origin=ORIGIN)], ["toy-library", "nothing-of-the-kind"], old, new) == ()
