"""Every parser of what comes from outside, with its inputs and with what must be true of what it takes."""

import contextlib
import gzip
import io
import itertools
import json
import os
import random
import re
import socket
import struct
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import typer
from packaging.requirements import Requirement
from packaging.version import Version
from typer.testing import CliRunner

from conformance.plugin.forkserver import question_of
from conformance.plugin.settings import add_options, architectures_meant, settings_from
from matrix import architectures, expectation, installed, waiver
from matrix.__main__ import app as matrix_app
from matrix.advice.wanted import parse_batches, parse_memory
from matrix.cell import AXES, Cell, parse_cell
from matrix.checkpoints import folders_by_name, parse_checkpoints
from matrix.constraints import why_impossible
from matrix.errors import UsageError
from matrix.expectation import load_rules
from matrix.guide import FILE as GUIDE
from matrix.guide import load_guide
from matrix.memory import parameters_of
from matrix.observation import Failure, Phase
from matrix.plan import load_profiles, named_cell
from matrix.regressions import FILE as REGRESSIONS
from matrix.regressions import load_regressions
from matrix.releases import Pin, companions_of, last_of_each_minor, parse_companions, parse_pin, parse_range
from matrix.reproduce import script_pieces
from matrix.selection import means_installed, parse_selection
from matrix.verdict import Judgement, Verdict
from matrix.waiver import load_waivers
from reports.__main__ import app as reports_app
from reports.advice import advice_lines, read_advice
from reports.compact import to_json
from reports.differences import Aspect, Kind
from reports.html import render_advice
from reports.packed import packed
from reports.policy import Policy, read_policy
from reports.power import Power, power_lines, read_power, summarise, zoo_lines
from reports.reading import read_report
from reports.text import summary_lines
from tests.builders import ARCHITECTURES, cuda_stack, ended, make_run, make_stack, record_of
from tests.fuzz.contract import Parser, must
from tests.fuzz.divided import lines_of, parsers_of_parts, shards, timed
from tests.fuzz.inputs import ODD_WORDS, broken_bytes, broken_text
from tests.reports.test_advice import advised
from tests.reports.test_html import everything

STACKS = (make_stack(), cuda_stack({"bitsandbytes": "0.50.2"}))
ONE = "llama-float32-sdpa-prefill"
_HUB_ID = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?")
_real_load_architectures = architectures.load_architectures


def every_parser(folder: Path) -> list[Parser]:
    """All of them; `folder` is theirs to write to."""
    return [
        Parser("cell id", 220, _cell_id, _parse_cell_id),
        Parser("--cells", 210, _selection, _parse_selection),
        Parser("--architectures", 120, _pattern, _Pattern(folder / "patterns")),
        _checkpoint_arguments(folder / "checkpoint"),
        _checkpoint_config(folder / "config"),
        _checkpoint_index(folder / "index"),
        _safetensors_header(folder / "safetensors"),
        _toml_file("expectation file", 60, folder / "rules", _tables(expectation.FOLDER), _parse_rules),
        _toml_file("waiver file", 40, folder / "waivers", _tables(waiver.FOLDER), _parse_waivers),
        _toml_file("architecture file", 60, folder / "types", _files(architectures.FOLDER), _parse_architecture),
        _toml_file("regressions", 12, folder / "rows", _tables_of(REGRESSIONS), _parse_regressions),
        _toml_file("policy of the gate", 12, folder / "policy", _POLICIES, _parse_policy),
        _toml_file("guide", 8, folder / "guide", _tables_of(GUIDE), _parse_guide),
        _report("records.jsonl", 30, folder / "records", _lines(), lambda text: text),
        _report("matrix.json", 16, folder / "plain", _documents(), lambda text: text),
        _report("matrix.json.gz", 10, folder / "packed", _documents(), packed),
        _power(folder / "power"),
        *parsers_of_parts(folder / "parts"),
        Parser("fork server", 20, _question, _ask),
        _options(folder / "options"),
        Parser("pin", 12, _names_of_releases("transformers==5.24.0", "Flash_Attn==2.8.3.post1+cu12"), _parse_pin),
        Parser("range of releases", 12, _names_of_releases(*_RANGES), _parse_range),
        Parser("companions", 12, _names_of_releases(*(f"{one}: a==1.2 b==3" for one in _RANGES)), _parse_companions),
        Parser("size of memory", 6, _names_of_releases("24GiB", "1.5TiB", "800 MB", "4096"), _parse_memory),
        Parser("numbers of rows", 6, _names_of_releases("1,8", "1, 2,4", "4096"), _parse_batches),
        _advice(folder / "advice"),
        _command_line("matrix", 8, folder / "matrix", matrix_app, _MATRIX),
        _command_line("reports", 6, folder / "reports", reports_app, _REPORTS),
    ]


# Cell ids, selections, patterns.


def _any_cell(draw: random.Random) -> Cell:
    chosen = {axis.name: draw.choice(list(axis.values.values())) for axis in AXES.values()}
    return Cell(draw.choice(list(ARCHITECTURES)), **chosen)


def _cell_id(draw: random.Random) -> str:
    ids = [_any_cell(draw).id, ONE, "t5-bfloat16-sdpa-flash-nf4-left-generate"]
    return ids[0] if draw.random() < 0.1 else broken_text(draw, ids)


def _parse_cell_id(text: str) -> None:
    cell = parse_cell(text)
    must(cell.id == text, f"the cell of this id has the id {cell.id}")
    must(named_cell(text, ARCHITECTURES) == cell, "it names two cells")
    must(why_impossible(cell, ARCHITECTURES[cell.architecture]) is None, "it cannot be")


def _selection(draw: random.Random) -> str:
    axes = draw.sample(["architecture", "family", "traits", *AXES], draw.choice((1, 1, 2, 3)))
    text = draw.choice((" ", " ", "  ", "\n")).join(_clause(draw, axis) for axis in axes)
    return text if draw.random() < 0.2 else broken_text(draw, [text, "architecture=llama,falcon dtype=!float32"])


def _clause(draw: random.Random, axis: str) -> str:
    if axis in AXES:
        words = [*AXES[axis].values, *AXES[axis].families]
    else:
        words = {"family": ["image", "text_decoder"], "traits": ["moe", "alibi"]}.get(axis, [*ARCHITECTURES, "g*", "*"])
    return f"{axis}={draw.choice(('', '', '!'))}{','.join(draw.choices(words, k=draw.choice((1, 1, 2, 4))))}"


def _parse_selection(text: str) -> None:
    chosen = parse_selection(text, ARCHITECTURES)
    means_installed(text, ARCHITECTURES, lambda name: False)
    for axis, values in chosen.allowed.items():
        known = set(ARCHITECTURES) if axis == "architecture" else set(AXES[axis].values)
        must(values <= known, f"it means values of {axis} that there are not: {values - known}")
    must(bool(chosen.allowed) == bool(text.strip(" \t\r\n")), "some of it means nothing")
    if all(chosen.allowed.values()):
        again = " ".join(f"{axis}={','.join(sorted(values))}" for axis, values in chosen.allowed.items())
        must(parse_selection(again, ARCHITECTURES).allowed == chosen.allowed, "spelled out it means something else")
    if "traits=" not in text and "*" not in text:  # which of them may mean nothing is not asked twice
        words = set(re.findall(r"[\w*]+", text))
        known = {"architecture", "family", "declares", "denies", "image", "text", "text_decoder", *AXES, *ARCHITECTURES}
        known |= {word.value.replace(" ", "_") for word in architectures.Family}
        known |= {name for axis in AXES.values() for name in (*axis.values, *axis.families)}
        must(
            words <= known or "declares" in words or "denies" in words,
            f"it has words that mean nothing: {words - known}",
        )


def _pattern(draw: random.Random) -> str:
    names = [*ARCHITECTURES, "gemma*", "*", "!llama", "folder"]
    text = ",".join(draw.choices(names, k=draw.choice((1, 2, 3, 30))))
    return text if draw.random() < 0.2 else broken_text(draw, [text])


@dataclass(frozen=True)
class _Pattern:
    folder: Path

    def __call__(self, text: str) -> None:
        (self.folder / "folder").mkdir(parents=True, exist_ok=True)
        named, cells = architectures_meant(self.folder, text, "dtype=float32")
        if named is None:
            chosen = parse_selection(cells, ARCHITECTURES)
            must(chosen.allowed["architecture"] <= set(ARCHITECTURES), "it means architectures that there are not")
            must(chosen.allowed["architecture"], "it means no architecture")
        else:
            _real_load_architectures(named)
            must(named.is_dir(), "it is no folder")


# Checkpoints.


def _checkpoint(folder: Path, config: bytes = b'{"model_type": "llama"}') -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(config)
    (folder / "model.safetensors").write_bytes(_safetensors({"a": {"dtype": "F32", "shape": [2, 3]}}))
    return folder


def _safetensors(tensors: Mapping[str, Mapping[str, Any]], numbers: int = 6) -> bytes:
    said = {name: {"data_offsets": [0, 4 * numbers], **tensor} for name, tensor in tensors.items()}
    return _with_length(json.dumps({"__metadata__": {"format": "pt"}, **said}).encode()) + bytes(4 * numbers)


def _with_length(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


def _checkpoint_arguments(folder: Path) -> Parser:
    good = [_checkpoint(folder / name) for name in ("mine", "Llama-3 x", "llama")]
    bad = folder / "empty"
    bad.mkdir()
    seeds = [f"llama={good[0]}", str(good[1]), f"own={good[2]}", f"llama={bad}", "llama=meta-llama/Llama-3.2-1B"]

    def parse(arguments: Sequence[str]) -> None:
        own = folders_by_name(arguments, ARCHITECTURES)
        known = {**ARCHITECTURES, **dict.fromkeys(own, ARCHITECTURES["llama"])}
        for name, path in parse_checkpoints(arguments, known, own).items():
            must(name in known and architectures.ARCHITECTURE_NAME.fullmatch(name), f"{name!r} is no architecture")
            must(os.path.isdir(path) or _HUB_ID.fullmatch(path), f"{path!r} is neither a folder nor of the hub")

    def make(draw: random.Random) -> list[str]:
        return [
            broken_text(draw, seeds) if draw.random() < 0.8 else draw.choice(seeds)
            for _ in range(draw.choice((1, 1, 2)))
        ]

    return Parser("--checkpoint", 60, make, parse)


def _checkpoint_config(folder: Path) -> Parser:
    seeds = [b'{"model_type": "llama"}', b'{"architectures": ["L"], "model_type": "llama", "vocab_size": 256}']

    def parse(content: bytes) -> None:
        parse_checkpoints([f"llama={_checkpoint(folder, content)}"], ARCHITECTURES)
        must(json.loads(content)["model_type"] == "llama", "it is of another type")

    return Parser("config.json", 30, lambda draw: broken_bytes(draw, seeds), parse)


def _checkpoint_index(folder: Path) -> Parser:
    seeds = [b'{"metadata": {}, "weight_map": {"a": "model.safetensors", "b": "model.safetensors"}}']

    def parse(content: bytes) -> None:
        (_checkpoint(folder) / "model.safetensors.index.json").write_bytes(content)
        parse_checkpoints([f"llama={folder}"], ARCHITECTURES)
        for shard in json.loads(content)["weight_map"].values():
            must((folder / shard).is_file(), f"{shard!r} is not there")

    return Parser("weights' index", 15, lambda draw: broken_bytes(draw, seeds), parse)


def _safetensors_header(folder: Path) -> Parser:
    folder.mkdir(parents=True)
    seeds = [_safetensors({"a": {"shape": [2, 3]}}), _safetensors({"a": {"shape": []}, "b": {"shape": [6]}})]

    def parse(content: bytes) -> None:
        (folder / "model.safetensors").write_bytes(content)
        count = parameters_of(folder)
        must(type(count) is int and 0 <= count <= 16 * len(content) ** 2, f"{count} numbers in {len(content)} bytes")
        must(8 + int.from_bytes(content[:8], "little") <= len(content), "its header is longer than it is")

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.3:
            return broken_bytes(draw, seeds)
        # Else whatever is broken in the header would make its length wrong as well.
        header = broken_text(draw, [content[8:-24].decode() for content in seeds])
        return _with_length(header.encode("utf-8", "replace")) + bytes(24)

    return Parser("safetensors header", 50, make, parse)


# TOML.


def _files(folder: Path) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))]


def _tables(folder: Path) -> list[str]:
    """The tables of its files, and two at a time. Reproducers are beside those files alone."""
    texts = [text for path in sorted(folder.glob("*.toml")) for text in _tables_of(path)]
    return [re.sub(r"(?m)^reproducer.*\n?", "", text) for text in texts]


def _tables_of(path: Path) -> list[str]:
    tables = [f"{text}\n" for text in path.read_text(encoding="utf-8").split("\n\n") if "[[" in text]
    return [*tables, *(f"{one}\n{other}" for one, other in itertools.pairwise(tables))]


def _toml_file(
    name: str, share: int, folder: Path, seeds: Sequence[str], parse: Callable[[Path], int | None]
) -> Parser:
    folder.mkdir(parents=True)
    path = folder / "mine.toml"
    broken = [text.encode() for text in seeds]

    def take(content: bytes) -> None:
        path.write_bytes(content)
        count = parse(path)
        tables = tomllib.loads(content.decode("utf-8"))
        if count is not None:
            said = sum(len(table) for table in tables.values())
            must(count == said, f"{count} of its {said} tables were read")

    return Parser(name, share, lambda draw: broken_bytes(draw, broken), take)


def _parse_rules(path: Path) -> int:
    with patch.object(expectation, "FOLDER", path.parent / "none"):
        rules = load_rules(ARCHITECTURES, path)
    cell, failure = parse_cell(ONE), Failure(Phase.LOAD, "ValueError", "does not support this")
    for rule in rules:
        _check_selection(rule.selection.allowed)
        _check_condition(rule.condition)
        must(rule.expectation.source.strip(), "it has no source")
        for said in (rule.expectation, *rule.when_run.values()):
            said.matches(failure)
        bool(cell in rule.selection)
    return len(rules)


def _parse_waivers(path: Path) -> int:
    with patch.object(waiver, "FOLDER", path.parent / "none"):
        waivers = load_waivers(ARCHITECTURES, path)
    for one in waivers:
        if one.selection is not None:
            _check_selection(one.selection.allowed)
            one.excuses(Judgement(one.verdict or Verdict.ERROR, "something else"))
        _check_condition(one.condition)
        must(one.url.isprintable() and one.reason.strip(), "it has no reason or no address")
        must(bool(one.rows) != (one.selection is not None), "it speaks of nothing, or of both")
    return len(waivers)


_POLICIES = (
    """strict = true

[counts]
time = "change"
message = "regression"
fallback = "ignore"

[matters]
architectures = ["llama", "gemma*"]
dtypes = ["bfloat16"]
backends = ["sdpa (flash)"]

[within]
accuracy_factor = 2
time_factor = 1.5
""",
    """[tool.conformance.gate]
strict = false

[tool.conformance.gate.within]
memory_factor = 1.25
accuracy_step = 0.5

[tool.other]
key = 1
""",
)


def _parse_policy(path: Path) -> None:
    policy = read_policy(path)
    must(Policy.model_validate(policy.model_dump()) == policy, "written down again it means something else")
    for factor in (policy.within.accuracy_factor, policy.within.time_factor, policy.within.memory_factor):
        must(1 <= factor < float("inf"), "no factor that anything can differ by")
    for kind, aspect in itertools.product(Kind, Aspect):
        counts = policy.kind_of(kind, aspect)
        must(counts is None or counts in Kind, "it makes a difference nothing that it can be")
        must(counts is not Kind.REGRESSION or kind in (Kind.REGRESSION, Kind.CHANGE), "what is better is worse")
    policy.matters.includes("llama", "bfloat16", "sdpa (flash)")


def _check_selection(allowed: Mapping[str, frozenset[str]]) -> None:
    for axis, values in allowed.items():
        known = set(ARCHITECTURES) if axis == "architecture" else set(AXES[axis].values)
        must(values <= known, f"it means values of {axis} that there are not")


def _check_condition(condition: expectation.Condition) -> None:
    for stack in STACKS:
        must(condition.holds(stack) == (condition.why_not(stack) == ""), "it says why it holds not, and holds")


def _parse_architecture(path: Path) -> None:
    with patch.object(architectures, "FOLDER", path.parent):
        (one,) = _real_load_architectures().values()
    must(one.auto_class.isidentifier(), f"auto_class {one.auto_class!r} is no name")
    must(re.fullmatch(r"[\w.-]+", one.model_type), f"model_type {one.model_type!r} is no name")
    must(isinstance(one.recurrent, bool) and isinstance(one.config, dict), "it has values of other types")
    must(all(isinstance(name, str) for name in (*one.profiles, *one.aliases, *one.kept_linear)), "its lists hold more")
    own = [piece for piece in script_pieces(parse_cell(ONE), one) if "ARCHITECTURE =" in piece]
    namespace: dict[str, Any] = {"SimpleNamespace": SimpleNamespace, "__builtins__": {}, "inf": 1e999, "nan": 0.0}
    must(len(own) == 1, "a script has it twice")
    code = compile(own[0].replace("datetime.", ""), "script", "exec")
    must(len(code.co_names) <= 12, "more than its values becomes code")
    if not re.search(r"\bdatetime\.", own[0]):
        exec(code, namespace)
        must(namespace["ARCHITECTURE"].auto_class == one.auto_class, "a script has another class")


def _parse_regressions(path: Path) -> int:
    rows = load_regressions(path)
    for row in rows.values():
        row.is_refusal(ValueError("no"))
        _check_condition(row.condition)
    return len(rows)


def _parse_guide(path: Path) -> int:
    guide = load_guide.__wrapped__(path)
    for recipe in guide.recipes:
        for spelling in recipe.probe:
            guide.refusal(recipe, spelling, STACKS[0])
        recipe.why_unreachable(STACKS[0])
    for requirement in guide.requirements:
        requirement.problem(STACKS[0])
    return len(guide.recipes) + len(guide.refusals) + len(guide.requirements)


# Reports.


def _lines() -> list[str]:
    whole, run = everything(), make_run(ONE, "gpt2-float32-eager-prefill")
    parts = [run, record_of(ONE), *whole.records[:2], *whole.rows[:2], ended("x")]
    return ["\n".join(part.model_dump_json() for part in parts) + "\n", *(lines_of(part) for part in shards(2))]


def _documents() -> list[str]:
    whole = everything()
    few = whole.model_copy(update={"rows": whole.rows[:2], "power": None})
    return [whole.model_dump_json(), to_json(few), few.model_dump_json(), *map(to_json, shards(2))]


def _report(name: str, share: int, folder: Path, seeds: Sequence[str], as_file: Callable[[bytes], bytes]) -> Parser:
    folder.mkdir(parents=True)
    path, again = folder / name, folder / "again.json"
    contents = [text.encode() for text in seeds]

    def make(draw: random.Random) -> bytes:
        if name.endswith(".gz") and draw.random() < 0.5:
            return broken_bytes(draw, [as_file(content) for content in contents])
        return as_file(broken_bytes(draw, contents))

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        report = read_report(path)
        text = to_json(report)
        again.write_text(text, encoding="utf-8")
        must(to_json(read_report(again)) == text, "written down and read again it is another report")
        must(sum(report.counts.values()) == len(report.records), "its counts are not those of its records")
        list(summary_lines(report))

    return Parser(name, share, make, parse)


def _power(folder: Path) -> Parser:
    folder.mkdir(parents=True)
    path = folder / "power.json"
    seen = {"dtype": "float32", "cell": ONE, "architecture": "llama", "verdict": "supported", "ratio": 0.5}
    faults = (("", None), ("x", 2), ("x", None))
    trials = [{"fault": fault, "percent": percent, "caught": {"suite": True}, **seen} for fault, percent in faults]
    when = "2026-11-20T00:00:00Z"
    stack = {"versions": {"torch": "2.13.0"}, "device": "cpu"}
    made = {"started": when, "finished": when, "stack": stack, "faults": {"x": "y"}, "trials": trials}
    seeds = [json.dumps(made).encode(), Power.model_validate(made).model_dump_json().encode()]

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        power = read_power(path)
        must(Power.model_validate_json(power.model_dump_json()).model_dump_json() == power.model_dump_json(), "changes")
        list(power_lines(summarise(power)))
        list(zoo_lines(power))

    return Parser("power JSON", 20, lambda draw: broken_bytes(draw, seeds), parse)


# What a process is asked to run.


def _question(draw: random.Random) -> bytes:
    told = {"arguments": ["-u", "-c", "pass"], "environment": {"A": "b"}, "folder": "/"}
    content = json.dumps(told).encode()
    if draw.random() < 0.7:
        content = broken_text(draw, [content.decode()]).encode("utf-8", "replace")
        return len(content).to_bytes(4, "little") + content
    return broken_bytes(draw, [len(content).to_bytes(4, "little") + content])


def _ask(content: bytes) -> None:
    asking, asked = socket.socketpair()
    with asking, asked:
        asking.settimeout(1)
        asking.sendall(content[:100_000])
        asking.shutdown(socket.SHUT_WR)
        asked.settimeout(1)
        descriptors: list[int] = []
        try:
            told = question_of(asked, descriptors)
        except (OSError, ValueError, RecursionError):  # as the server takes them
            raise UsageError("no question") from None
    must(all(isinstance(text, str) for text in told["arguments"]), "arguments that are none")
    must("-c" in told["arguments"][:-1], "nothing to run")


# Releases.

_RANGES = ("transformers>=4.48,<5.25", "peft~=0.15", "torch!=2.1.*,>2")


def _names_of_releases(*seeds: str) -> Callable[[random.Random], str]:
    return lambda draw: draw.choice(seeds) if draw.random() < 0.1 else broken_text(draw, seeds)


def _parse_pin(text: str) -> None:
    pin = parse_pin(text)
    must(parse_pin(str(pin)) == pin, f"it is another pin than {pin}")
    must("==" in text and Requirement(text).specifier.contains(pin.version), f"it does not mean {pin.version}")


def _parse_memory(text: str) -> None:
    count = parse_memory(text)
    must(0 < count < 2**80, f"{count} bytes")
    must(count >= 10**9 or parse_memory(str(count)) == count, f"it is another size than {count}")


def _parse_batches(text: str) -> None:
    batches = parse_batches(text)
    must(list(batches) == sorted(set(batches)) and batches[0] > 0, f"{batches} are no numbers of rows")
    must({int(part) for part in text.split(",")} == set(batches), f"{batches} are others")


def _advice(folder: Path) -> Parser:
    folder.mkdir(parents=True)
    seeds = [advised().model_dump_json().encode()]

    def parse(content: bytes) -> None:
        (folder / "advice.json").write_bytes(content)
        advice = read_advice(folder / "advice.json")
        must(render_advice(advice).rstrip().endswith("</html>"), "its page has no end")
        must(list(advice_lines(advice)), "it has no words")

    return Parser("advice", 6, lambda draw: broken_bytes(draw, seeds), parse)


def _parse_range(text: str) -> None:
    wanted = parse_range(text)
    must(parse_range(str(wanted)).specifier == wanted.specifier, "spelled out it means something else")
    chosen = last_of_each_minor(map(Version, ("1.0", "4.48.1", "4.48.2", "4.49.0rc1", "5.0")), wanted.specifier)
    must(chosen == sorted(chosen) and all(wanted.specifier.contains(one) for one in chosen), f"it means {chosen}")


def _parse_companions(text: str) -> None:
    companions = parse_companions(text)
    must(companions.pins, "nothing goes with it")
    for pin in companions.pins:
        must(parse_pin(str(pin)) == pin, f"{pin} is no pin")
    inside = Pin(companions.of.name, "4.48.0")
    said = companions_of(inside, [companions])
    must(said == (companions.pins if companions.of.specifier.contains("4.48.0") else ()), f"{said} goes with {inside}")


# Command lines.


@contextlib.contextmanager
def _nothing_is_looked_at(folder: Path) -> Iterator[None]:
    """While entered the installed library is not read, and the suite's own architectures are read once."""

    def load(extra: Path | None = None) -> Any:
        return ARCHITECTURES if extra is None else _real_load_architectures(extra)

    def look(what: str, path: Path, *at: Path) -> None:
        raise UsageError(f"{what} is not looked at")

    with (
        patch("matrix.installed.load_architectures", load),
        patch("conformance.plugin.settings.load_architectures", load),
        patch("matrix.__main__.load_architectures", load),
        patch("matrix.__main__.FIXTURE_CACHE", folder / "cache"),
        patch.object(installed, "_look", look),
        patch.object(installed, "_digest", lambda *others: "0"),
        patch("matrix.__main__.detect_stack", make_stack),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield


def _options(folder: Path) -> Parser:
    folder.mkdir(parents=True)
    model = _checkpoint(folder / "model")
    (folder / "own").mkdir()
    (folder / "names").write_text(f"{ONE}\nproperty:right\n")
    (folder / "rules.toml").write_text('[[rule]]\ncells = "dtype=float16"\noutcome = "supported"\nsource = "x"\n')
    values = {
        "--profile": ["smoke", "guide"],
        "--cells": ["architecture=llama dtype=bfloat16", "architecture=gpt2"],
        "--cell": [ONE],
        "--shard": ["1/1", "2/3"],
        "--only": ["names"],
        "--resume": ["out", "out/latest"],
        "--require": ["cuda", "flash-attn,bitsandbytes"],
        "--report-dir": ["out"],
        "--fixture-cache": ["fixtures", "~/fixtures"],
        "--checkpoint": [f"llama={model}", "llama=owner/name"],
        "--architectures": ["own", "gpt*,llama"],
        "--expectations": ["rules.toml"],
        "--waivers": ["rules.toml"],
        "--cell-timeout": ["300", "1e3"],
        "--keep-warm": ["0", "30"],
        "--seed": ["0", "4294967296"],
    }

    def make(draw: random.Random) -> list[str]:
        chosen = draw.sample(list(values), draw.choice((1, 1, 2)))
        given = [
            f"{option}={draw.choice(values[option]) if draw.random() < 0.2 else broken_text(draw, values[option])}"
            for option in chosen
        ]
        # One architecture is planned sooner than all.
        return given if {"--cells", "--cell", "--architectures"} & set(chosen) else [*given, "--architectures=gpt2"]

    parser = pytest.Parser(_ispytest=True)
    add_options(parser)
    profiles = load_profiles()

    def parse(arguments: list[str]) -> None:
        with _nothing_is_looked_at(folder), patch.object(expectation, "FOLDER", folder / "own"):
            try:
                option = parser.parse(arguments)
            except pytest.UsageError as error:  # in the words of argparse, with its usage in several lines
                must(len(str(error)) < 5_000, "argparse quotes all that it was given")
                raise UsageError("argparse says no") from None
            config: Any = SimpleNamespace(option=option, invocation_params=SimpleNamespace(dir=folder))
            settings = settings_from(config, STACKS[0])
        must(settings.plan or settings.only, "nothing is planned")
        must(settings.profile in profiles, "there is no such profile")
        must(0 < settings.cell_timeout < 1e9, "no time that a cell can have")
        must(0 <= settings.seed <= 2**32, "no seed")
        must(settings.shard is None or 1 <= settings.shard.number <= settings.shard.of, "there is no such shard")

    return Parser("options of pytest", 8, make, parse)


_MATRIX = (
    ("list", "--profile", "smoke", "--cells", "architecture=llama dtype=float16"),
    ("list", "--profile", "smoke", "--cells", "architecture=gpt2", "--architectures", "own"),
    ("explain", ONE, "--expectations", "rules.toml", "--waivers", "waivers.toml"),
    ("reproduce", ONE, "--seed", "5", "--checkpoint", "llama=owner/name"),
    ("reproduce", ONE),
)
_REPORTS = (
    ("validate", "matrix.json"),
    ("validate", "records.jsonl"),
    ("render", "records.jsonl", "--output", "page"),
    ("spent", "matrix.json"),
    ("diff", "matrix.json", "kept.json.gz", "--format", "markdown"),
    ("diff", "matrix.json", "kept.json.gz", "-o", "diff.json", "--format", "json"),
    ("gate", "matrix.json", "kept.json.gz", "--format", "github"),
    ("gate", "matrix.json", "kept.json.gz", "--policy", "policy.toml", "--allow", "device,plan", "--format", "json"),
    ("gate", "matrix.json", "run", "--after-again", "kept.json.gz", "-o", "gate.html", "--format", "html"),
    ("keep", "matrix.json", "-o", "kept.json.gz"),
    ("publish", "run", "-o", "site"),
    ("stacks", "matrix.json", "-o", "stacks.html"),
    ("calibrate", "matrix.json", "-o", "plot.svg"),
    ("merge", "one", "two.json", "-o", "whole"),
    ("costs", "timed.json", "-o", "costs.toml"),
    ("growth", "timed.json", "fewer.json", "-o", "growth.svg"),
)


def _command_line(name: str, share: int, folder: Path, app: typer.Typer, lines: Sequence[Sequence[str]]) -> Parser:
    runner = CliRunner()
    (folder / "own").mkdir(parents=True)
    (folder / "run").mkdir()
    documents = _documents()
    for place in ("matrix.json", "run/matrix.json"):
        (folder / place).write_text(documents[1], encoding="utf-8")
    (folder / "kept.json.gz").write_bytes(gzip.compress(documents[2].encode()))
    (folder / "records.jsonl").write_text(_lines()[0], encoding="utf-8")
    (folder / "one").mkdir()
    one, two = shards(2)
    (folder / "one" / "records.jsonl").write_text(lines_of(one), encoding="utf-8")
    for place, report in (("two.json", two), ("timed.json", timed(6)), ("fewer.json", timed(3))):
        (folder / place).write_text(to_json(report), encoding="utf-8")
    (folder / "rules.toml").write_text('[[rule]]\ncells = "dtype=float16"\noutcome = "supported"\nsource = "x"\n')
    (folder / "waivers.toml").write_text("")
    (folder / "policy.toml").write_text(_POLICIES[0])

    def make(draw: random.Random) -> list[str]:
        given = list(draw.choice(lines))
        for _ in range(draw.choice((0, 1, 1, 2))):
            at = draw.randrange(1, len(given)) if len(given) > 1 else 0
            given[at] = draw.choice(ODD_WORDS) if draw.random() < 0.2 else broken_text(draw, [given[at]])
        if draw.random() < 0.2:
            odd = draw.choice(("--help", "--", "-o", "--output", "extra", ""))
            given.insert(draw.randrange(1, len(given) + 1), odd)
        # What is written stays within the folder.
        return [re.sub(r"[/~]|\.\.+", "", one) for one in given]

    def parse(arguments: list[str]) -> None:
        with _nothing_is_looked_at(folder), contextlib.chdir(folder):
            result = runner.invoke(app, arguments)
        if isinstance(result.exception, SystemExit) or result.exception is None:
            must(result.exit_code in (0, 1, 2), f"it ends with {result.exit_code}")
            if result.exit_code:
                raise UsageError("the command line's parser says no")
            return
        raise result.exception

    return Parser(f"python -m {name}", share, make, parse)
