"""A failing cell made small: the same fault is left, and the script shows it and passes where it is repaired."""

import ast
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.minimising.case import Case, change, simpler
from conformance.minimising.command import _shows, minimised, reduced, title_of
from conformance.minimising.script import LINES, script_of
from conformance.minimising.symptom import Clinic, Symptom
from conformance.models.batches import PLAIN
from matrix.cell import parse_cell
from matrix.errors import UsageError
from matrix.verdict import Verdict
from tests.builders import ARCHITECTURES, make_stack
from tests.sessions import run_script

CELL = parse_cell("recurrent_gemma-bfloat16-sdpa-left-prefill")
PICTURES = "llama-float32-sdpa-prefill"  # of an architecture that takes them
CASE = Case(CELL, dict(ARCHITECTURES["recurrent_gemma"].config), (144, 131, 65, 9), 4)


def run(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "reproduce.py"
    path.write_text(text, encoding="utf-8")
    return run_script(path)


def test_every_step_is_simpler_by_one_thing() -> None:
    steps = list(simpler(CASE))
    assert len({change(CASE, step) for step in steps}) == len(steps)
    assert all(change(CASE, step).count(";") == 0 for step in steps)
    assert replace(CASE, cell=parse_cell("recurrent_gemma-float32-sdpa-left-prefill")) in steps
    assert replace(CASE, lengths=(144, 9)) in steps
    assert any(step.config["hidden_size"] == 16 for step in steps)


def test_lists_with_an_entry_for_each_layer_are_cut() -> None:
    case = replace(CASE, config={"num_hidden_layers": 3, "layer_types": ["a", "b", "c"], "sizes": [1, 2]})
    (step,) = (one for one in simpler(case) if one.config.get("num_hidden_layers") == 1)
    assert step.config == {"num_hidden_layers": 1, "layer_types": ["a"], "sizes": [1, 2]}


class Pretended(Clinic):
    """Fails while a config has both of two options, elsewhere while it has one."""

    def __init__(self, wanted: Symptom) -> None:
        self.wanted = wanted

    def symptom(self, case: Case, *, dials: bool = False) -> Symptom | None:
        if {"a", "b"} <= set(case.config):
            return self.wanted
        return replace(self.wanted, where="another") if "a" in case.config else None


def test_what_is_left_fails_in_the_same_way_and_nothing_can_be_taken_from_it() -> None:
    wanted = Symptom(Verdict.INACCURATE, "", "Attention", "row 1 only")
    case, tried = reduced(replace(CASE, config={"a": 1, "b": 2, "c": 3}), wanted, Pretended(wanted))
    assert case.config == {"a": 1, "b": 2}
    assert case.lengths == (2,)
    assert tried < 40


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({}, True),
        ({"pattern": "rows 2, 3 only"}, True),
        ({"pattern": "last token only"}, False),
        ({"where": "MLP"}, False),
        ({"verdict": Verdict.ERROR}, False),
    ],
)
def test_the_same_fault_is_of_the_same_module_and_pattern(other: Mapping[str, object], same: bool) -> None:
    wanted = Symptom(Verdict.INACCURATE, "", "Attention", "row 1 only")
    assert wanted.same(replace(wanted, **other)) is same  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("where", "dial", "title"),
    [
        ("Attention", "softmax scale", "in Attention, row 1 only: softmax scale"),
        ("Attention", "", "in Attention, row 1 only"),
        ("A" * 40, "weight of the next token, which must not be seen", f"in {'A' * 40}, row 1 only"),
        ("A" * 80, "softmax scale", ""),
    ],
)
def test_a_title_names_the_dial_and_the_place_where_there_is_room(where: str, dial: str, title: str) -> None:
    symptom = Symptom(Verdict.INACCURATE, "", where, "row 1 only", dial)
    assert title_of(CELL, symptom) == f"recurrent_gemma, prefill: inaccurate {title}".rstrip()
    assert len(title_of(CELL, symptom)) < 112


def test_a_symptom_names_the_dial_where_it_is_asked_for(tmp_path: Path) -> None:
    cell, architecture = parse_cell("falcon_alibi-float32-eager-prefill"), ARCHITECTURES["falcon_alibi"]
    case = Case(cell, dict(architecture.config), (40, 33), 4)
    clinic = Clinic(architecture, make_stack(), tmp_path)
    told, plain = clinic.symptom(case, dials=True), clinic.symptom(case)
    assert told is not None
    assert plain is not None
    assert (told.where, told.dial, plain.dial) == ("FalconAttention", "slopes of ALiBi", "")
    said = re.search(r"slopes of ALiBi (\+\S+) ± ", told.reason)
    assert said is not None
    assert float(said[1]) == pytest.approx(100, abs=1e-4)
    assert told.same(plain)


def test_a_fault_becomes_a_short_script_that_exits_with_1(tmp_path: Path) -> None:
    text, told = minimised(CELL, ARCHITECTURES["recurrent_gemma"], make_stack(), issue=False)
    assert len(text.splitlines()) <= LINES
    assert "conformance" not in text
    assert "matrix" not in text
    answer = run(text, tmp_path)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    assert "smaller cases tried" in told[1]
    assert "attention_mask=mask" in text
    # The same script of what is right: nothing is padded any more.
    right = "\n".join(line for line in text.splitlines() if "= 0, 0" not in line)
    assert run(right, tmp_path).returncode == 0


def test_an_issue_has_title_versions_and_what_was_tried() -> None:
    text, _ = minimised(CELL, ARCHITECTURES["recurrent_gemma"], make_stack(), issue=True)
    assert text.startswith("# recurrent_gemma gives wrong logits: RecurrentGemmaRecurrentBlock")
    assert "torch 2.13.0, transformers 5.23.0" in text
    assert "delta debugging" in text
    assert text.rstrip().endswith("```")


def test_a_cell_that_does_not_fail_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="does not fail on this stack"):
        minimised(parse_cell("llama-float32-sdpa-prefill"), ARCHITECTURES["llama"], make_stack(), issue=False)


@pytest.mark.parametrize(
    "cell_id",
    [
        "llama-float32-sdpa-left-prefill",
        "llama-bfloat16-sdpa-left-generate",
        "llama-float32-sdpa-left-stepwise",
        "llama-float32-sdpa-chunked_prefill",
        "llama-float32-sdpa-static_cache",
        "llama-float16-sdpa-left-continued",
        "llama-float32-sdpa-left-switched",
        "llama-float32-sdpa-reload",
        "llama-float32-sdpa-left-single_row",
        "bert-bfloat16-sdpa-right-prefill",
        "opt-bfloat16-sdpa-nf4-prefill",
        "mixtral-float32-sdpa-prefill",
        "t5-float32-sdpa-prefill",
        "t5-bfloat16-sdpa-left-prefill",
    ],
)
def test_the_script_of_what_is_right_passes(cell_id: str, tmp_path: Path) -> None:
    cell = parse_cell(cell_id)
    architecture = ARCHITECTURES[cell.architecture]
    case = Case(cell, dict(architecture.config), (24, 19), 4)
    text = script_of(
        case,
        architecture,
        Verdict.INACCURATE,
        "a title",
        cache_argument="past_key_values",
        positions=cell.architecture not in ("bert", "t5"),
        cuda=False,
    )
    assert text is not None
    answer = run(text, tmp_path)
    assert (answer.returncode, answer.stdout.count("row ")) == (0, 2), answer.stdout + answer.stderr[-600:]
    assert len(text.splitlines()) <= LINES


@pytest.mark.parametrize(
    "cell_id", ["llama-float32-sdpa-beam", "t5-float32-sdpa-left-generate", "llama-float32-sdpa-train", PICTURES]
)
def test_what_needs_the_suites_machinery_has_no_short_script(cell_id: str) -> None:
    cell = parse_cell(cell_id)
    architecture = ARCHITECTURES[cell.architecture]
    if cell_id == PICTURES:
        architecture = replace(architecture, inputs={**PLAIN, "noise": {"pixel_values": [1, 3, 32, 32]}})
    case = Case(cell, dict(architecture.config), (24, 19), 4)
    found = script_of(
        case, architecture, Verdict.INACCURATE, "x", cache_argument="past_key_values", positions=True, cuda=False
    )
    assert found is None


def test_a_script_that_raises_something_else_does_not_show_the_fault() -> None:
    wanted = Symptom(Verdict.ERROR, "", "RuntimeError in update")
    for name, shows in (("RuntimeError", True), ("TypeError", False)):
        assert _shows(f'print("expected: it runs; seen: {name} of it")\nraise SystemExit(1)\n', wanted) is shows
    assert not _shows('print("seen: RuntimeError of it")\n', wanted)
    assert not _shows("raise ValueError\n", replace(wanted, verdict=Verdict.INACCURATE))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("x=1)\nprint('mine')\ndict(y", 1),
        ("lambda", 1),
        ("vocab_size", "256)\nprint('mine')\n("),
        ("name", "'\"\"\"\nprint('mine')"),
    ],
)
def test_nothing_that_a_checkpoints_config_says_becomes_code(option: str, value: object) -> None:
    architecture = ARCHITECTURES["llama"]
    config = {**architecture.config, option: value}
    text = script_of(
        Case(CELL, config, (24, 19), 4),
        architecture,
        Verdict.INACCURATE,
        "a title",
        cache_argument="past_key_values",
        positions=True,
        cuda=False,
    )
    assert text is not None
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node) == "print('mine')"]
    assert calls == []
    (said,) = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and "CONFIG" in ast.unparse(node.targets)
    ]
    assert eval(ast.unparse(said), {"__builtins__": {"dict": dict}}) == config
