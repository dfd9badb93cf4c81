"""What rules should say instead: TOML that the suite reads, of just the cells that contradict them, and a patch."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cell import Cell, parse_cell
from matrix.expectation import Expectation, Outcome, expect, load_rules
from matrix.observation import Ending, Failure, Phase
from matrix.selection import parse_selection
from matrix.stack import Device
from matrix.verdict import Verdict
from reports.document import Record
from reports.proposals import Proposal, proposals
from tests.builders import ARCHITECTURES, PROPERTY, REFUSED, ROOT, completed, cuda_stack, record_of

STACK = cuda_stack({"transformers": "5.19.0"})
RULES = load_rules(ARCHITECTURES)
KERNEL = Failure(Phase.FORWARD, "RuntimeError", "No available kernel. Aborting execution.")


def expected(cell: str) -> Expectation:
    return expect(parse_cell(cell), STACK, RULES)


def right(cell: str) -> Record:
    seen = completed(parse_cell(cell), Device.CUDA)
    return record_of(cell, Verdict.UNEXPECTED, expectation=expected(cell), observation=seen)


def raised(cell: str, failure: Failure = KERNEL, verdict: Verdict = Verdict.REFUSED) -> Record:
    seen = completed(parse_cell(cell), Device.CUDA, ending=Ending.RAISED, failure=failure, comparisons=())
    return record_of(cell, verdict, failure.message, expectation=expected(cell), observation=seen)


T5 = [f"t5-{dtype}-sdpa-mem_efficient-{load}" for dtype in ("float16", "bfloat16") for load in ("prefill", "generate")]
STILL = ["t5-float16-sdpa-flash-prefill", "falcon-float16-sdpa-mem_efficient-prefill"]


def the_one(*records: Record) -> Proposal:
    (found,) = proposals(records, STACK, ["transformers"])
    return found


def test_it_speaks_of_the_cells_that_are_right_and_of_no_other(tmp_path: Path) -> None:
    found = the_one(*map(right, T5), *map(raised, STILL), record_of("t5-float32-eager-prefill"))
    assert (found.cells, found.rule) == (4, "matrix/expectations/40-sdpa-kernels.toml: rule 4")
    path = tmp_path / "mine.toml"
    path.write_text(found.toml, encoding="utf-8")
    rules = load_rules(ARCHITECTURES, path)
    for cell in T5:
        assert expected(cell).outcome is Outcome.REFUSED
        assert expect(parse_cell(cell), STACK, rules).outcome is Outcome.SUPPORTED
    for cell in STILL:
        assert expect(parse_cell(cell), STACK, rules) == expected(cell)
    older = cuda_stack({"transformers": "5.18.0"})
    assert expect(parse_cell(T5[0]), older, rules).outcome is Outcome.REFUSED


def test_its_patch_applies_to_the_file_in_which_the_rule_stands(tmp_path: Path) -> None:
    found = the_one(*map(right, T5), *map(raised, STILL))
    place = tmp_path / "matrix" / "expectations" / "40-sdpa-kernels.toml"
    place.parent.mkdir(parents=True)
    place.write_bytes((ROOT / "matrix" / "expectations" / "40-sdpa-kernels.toml").read_bytes())
    (tmp_path / "change.patch").write_text(found.patch, encoding="utf-8")
    subprocess.run(["git", "apply", "change.patch"], cwd=tmp_path, check=True)
    rules = load_rules(ARCHITECTURES, place)
    assert expect(parse_cell(T5[0]), STACK, rules).outcome is Outcome.SUPPORTED
    assert expect(parse_cell(STILL[0]), STACK, rules) == expected(STILL[0])


def test_an_error_in_other_words_is_a_rule_with_those_words(tmp_path: Path) -> None:
    said = replace(KERNEL, type="ValueError", message="T5Model found no kernel in /opt/x (3 tried)", phase=Phase.LOAD)
    found = the_one(raised(T5[0], said, Verdict.ERROR), raised(T5[1]))
    path = tmp_path / "mine.toml"
    path.write_text(found.toml, encoding="utf-8")
    rule = expect(parse_cell(T5[0]), STACK, load_rules(ARCHITECTURES, path))
    assert rule.matches(said)
    assert rule.matches(replace(said, message=said.message.replace("T5Model", "BertModel").replace("/opt/x", "/y")))
    assert expect(parse_cell(T5[1]), STACK, load_rules(ARCHITECTURES, path)) == expected(T5[1])


def test_a_fault_of_the_device_is_never_proposed() -> None:
    def proposed(message: str) -> list[Proposal]:
        one = raised(T5[0], replace(KERNEL, message=message), Verdict.ERROR)
        return proposals([one.model_copy(update={"expectation": REFUSED})], STACK, ["torch"])

    assert proposed("CUDA error: misaligned address") == []
    assert len(proposed("no")) == 1


def test_what_a_library_keeps_in_float32_is_for_the_architecture_to_say() -> None:
    cell = "glm4_moe-bfloat16-eager-prefill"
    seen = completed(parse_cell(cell), Device.CUDA)
    foreign, counts = {"float32": ("model.layers.1.mlp.gate.weight",)}, {"float32": 1, "bfloat16": 20}
    seen = replace(seen, evidence=replace(seen.evidence, foreign_parameters=foreign, parameter_dtypes=counts))
    reason = "parameters in float32, not bfloat16: model.layers.1.mlp.gate.weight"
    found = the_one(record_of(cell, Verdict.SUBSTITUTED, reason, observation=seen))
    assert (found.cells, found.rule) == (1, "matrix/architectures/glm4_moe.toml")
    assert found.toml == 'kept_float32 = ["gate"]\n'


def test_a_rule_that_is_not_the_suites_has_no_place_and_no_patch() -> None:
    own = Expectation(Outcome.REFUSED, 'mine: "\x7f\n', Phase.LOAD, "ValueError", "no")
    record = right(T5[0]).model_copy(update={"expectation": own})
    found = the_one(record)
    assert (found.rule, found.patch) == ("", "")
    assert "[[rule]]" in found.toml


def test_what_ran_by_something_else_or_is_known_is_no_reason_for_another_rule() -> None:
    cell = T5[0]
    seen = completed(parse_cell(cell), Device.CUDA)
    fallen = replace(seen, evidence=replace(seen.evidence, attention_ops={}))
    assert proposals([right(cell).model_copy(update={"observation": fallen})], STACK, ["transformers"]) == []
    assert proposals([raised(cell), record_of("t5-float16-eager-prefill")], STACK, ["transformers"]) == []


@pytest.mark.parametrize(
    ("raised_libraries", "words"),
    [
        (["peft", "transformers"], 'transformers = ">=5.19.0"'),
        (["torch"], 'torch = ">=2.13.0"'),
        ([], 'when = { device = "cuda" }'),
    ],
)
def test_the_stack_is_told_by_what_was_raised(raised_libraries: list[str], words: str) -> None:
    (found,) = proposals([right(T5[0])], cuda_stack({"transformers": "5.19.0", "peft": "1"}), raised_libraries)
    assert words in found.toml


CELLS = st.builds(
    "{}-{}-sdpa-{}-{}".format,
    st.sampled_from(["t5", "falcon"]),
    st.sampled_from(["float16", "bfloat16"]),
    st.sampled_from(["mem_efficient", "cudnn"]),
    st.sampled_from(["prefill", "left-prefill", "generate", "stepwise"]),
)


@PROPERTY
@given(st.sets(CELLS, min_size=1), st.sets(CELLS))
def test_no_cell_is_forgotten_and_none_is_spoken_of_that_was_measured_otherwise(
    works: set[str], refuses: set[str]
) -> None:
    refuses -= works
    found = proposals([*map(right, sorted(works)), *map(raised, sorted(refuses))], STACK, ["transformers"])
    selections = [
        parse_selection(line.partition('"')[2].rstrip('"'), ARCHITECTURES)
        for one in found
        for line in one.toml.splitlines()
        if line.startswith("cells = ")
    ]

    def meant(cell: Cell) -> bool:
        return any(cell in selection for selection in selections)

    assert all(meant(parse_cell(cell)) for cell in works)
    assert not any(meant(parse_cell(cell)) for cell in refuses)
