"""A standalone script for one cell: needs only torch and transformers, fit for an upstream issue.

It is the suite's own code: of the modules that say of themselves that scripts carry them along, the definitions that
the cell's course needs, and no others.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from pprint import pformat
from textwrap import wrap

from matrix.architectures import Architecture
from matrix.cell import Cell
from matrix.rooms import said_of

_ROOT = Path(__file__).parent.parent
_OURS = ("conformance.", "matrix.")
# Where a script begins: what it does with the names that are set below the definitions.
_MAIN = ("conformance.standalone", "main")

Definition = tuple[str, str]  # a module and a name in it
Import = tuple[str, str]  # the same, or a module alone


def reproducing_script(
    cell: Cell, architecture: Architecture, checkpoint: str | None = None, seed: int = 0, found: str = ""
) -> str:
    """The text of a script that runs the cell on its fixture, or on `checkpoint`, and prints what happens.

    It prints the phase and exception that end it, or the errors of candidate and baseline against golden
    with their bounds, the kernels that ran and the classes of linear modules. What a run `found` to be wrong stands in
    it as a comment: dials are read by more of the suite than a script carries along.
    """
    pieces = script_pieces(cell, architecture, checkpoint, seed, found)
    return "".join(piece if isinstance(piece, str) else "".join(piece) for piece in pieces)


def script_pieces(
    cell: Cell, architecture: Architecture, checkpoint: str | None = None, seed: int = 0, found: str = ""
) -> Iterator[str | tuple[str, ...]]:
    """The same script in pieces: a text of the cell's own, or several that other cells share.

    The scripts of many cells are few sequences of shared texts with short ones of their own between them.
    """
    provided = {
        name: (f"conformance.{room.package}.{room.half}", name) for room in cell.rooms for name in room.provided
    }
    imports, definitions = _carried((*provided.values(), _MAIN))
    yield ('"""',)
    yield cell.id
    yield (f': one cell of the inference support matrix, standalone.\n\n{_ABOUT}"""\n\n{imports}\n\n',)
    if found:
        yield _comment(f"What a run found of it: {found}.")
    yield ("CELL = SimpleNamespace(\n    id='",)
    yield cell.id
    yield ("',\n",)
    for axis, value in cell.axis_values():
        yield f"    {axis}={value!r},\n"
    yield (")\n",)
    yield f"ARCHITECTURE = {_namespace(_of_architecture(architecture))}\n"
    yield f"CHECKPOINT = {checkpoint!r}\n"
    yield f"SEED = {seed}\n"
    yield definitions
    does = [*(f"{name}={name}" for name in provided), *(f"{name}={value!r}" for name, value in said_of(cell).items())]
    yield (f"\n\nDOES = SimpleNamespace(\n    {_lines(does)}\n)\n",)
    yield ('\nif __name__ == "__main__":\n    main(CELL, ARCHITECTURE, CHECKPOINT, SEED, DOES)\n',)


_ABOUT = """Loads the model as the cell says (a small one with random weights unless CHECKPOINT names one), does with
it what the cell says, and holds the outcome against the same weights in plain eager attention, in higher precision and
in the cell's own. All of it is the suite's own code; what is the cell's own stands first.
"""


def _comment(text: str) -> str:
    """The text as lines of a comment, which none of it ends: it may come from a report of somebody else."""
    plain = "".join(character for character in " ".join(text.split()) if character.isprintable())
    return "".join(f"# {line}\n" for line in wrap(plain, width=110))


def _of_architecture(architecture: Architecture) -> dict[str, object]:
    names = ("model_type", "auto_class", "config", "inputs", "reference_attention")
    words = {"kind": architecture.kind.value, "positions": architecture.positions.value}
    return words | {name: getattr(architecture, name) for name in names}


def _namespace(values: dict[str, object]) -> str:
    return f"SimpleNamespace(\n    {_lines([f'{name}={_written(value)}' for name, value in values.items()])}\n)"


def _written(value: object) -> str:
    plain = dict(value) if isinstance(value, dict) else value
    return pformat(plain, width=100, compact=True).replace("\n", "\n    ")


def _lines(parts: list[str]) -> str:
    return ",\n    ".join(parts) + ","


@dataclass
class _Module:
    """The text of a module, by what it defines at the top level, and where its other names come from."""

    definitions: dict[str, str] = field(default_factory=dict)
    needs: dict[str, set[str]] = field(default_factory=dict)  # definition -> names that it reads
    ours: dict[str, Definition] = field(default_factory=dict)  # name -> where it is defined
    imports: dict[str, Import] = field(default_factory=dict)  # name -> what brings it


@cache
def _read(module: str) -> _Module:
    text = (_ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    found = _Module()
    end = 0  # of the statement before: comments between the two belong to the later one
    for node in ast.parse(text).body:
        last = node.end_lineno or 0
        if isinstance(node, ast.Import):
            found.imports |= {alias.name.partition(".")[0]: (alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            for alias in node.names:
                if source.startswith(_OURS):
                    found.ours[alias.name] = (source, alias.name)
                else:
                    found.imports[alias.name] = (source, alias.name)
        else:
            names = _defined_by(node)
            read = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
            for name in names:
                # Several statements may make one thing: X = [...], X += [...].
                before = found.definitions.get(name)
                written = "\n".join(lines[end:last]).strip()
                found.definitions[name] = written if before is None else f"{before}\n{written}"
                found.needs[name] = found.needs.get(name, set()) | read - {name}
        end = last
    return found


def _defined_by(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    parts = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [part.id for part in parts if isinstance(part, ast.Name)]


@cache
def _carried(wanted: tuple[Definition, ...]) -> tuple[str, tuple[str, ...]]:
    """The import statements and the definitions that these need, each after those that it needs itself."""
    imports: set[Import] = {("types", "SimpleNamespace")}
    texts: dict[Definition, str] = {}
    begun: set[Definition] = set()
    owners: dict[str, str] = {}

    def carry(definition: Definition) -> None:
        if definition in begun:
            return
        begun.add(definition)
        module, name = definition
        read = _read(module)
        if name not in read.definitions:  # imported there from elsewhere
            carry(read.ours[name])
            return
        assert owners.setdefault(name, module) == module, f"{name} of {module} and of {owners[name]}"
        for needed in sorted(read.needs[name]):
            if needed in read.definitions:
                carry((module, needed))
            elif needed in read.ours:
                carry(read.ours[needed])
            elif needed in read.imports:
                imports.add(read.imports[needed])
        if read.definitions[name] not in texts.values():  # two names may be set by one statement
            texts[definition] = read.definitions[name]

    for definition in wanted:
        carry(definition)
    return _sorted(imports), tuple(f"\n\n{text}\n" for text in texts.values())


def _sorted(imports: set[Import]) -> str:
    """Import statements in the usual order, what is installed after what Python brings."""
    names: dict[str, list[str]] = {}
    for module, name in imports:
        names.setdefault(module, []).append(name)
    lines: dict[bool, list[str]] = {False: [], True: []}
    for module, listed in sorted(names.items(), key=lambda item: item[0]):
        installed = lines[module.partition(".")[0] in ("torch", "transformers")]
        if "" in listed:
            installed.insert(0, f"import {module}")
        if any(listed):
            installed.append(f"from {module} import {', '.join(sorted(filter(None, listed)))}")
    return "\n\n".join("\n".join(part) for part in lines.values())
