"""records.jsonl: nothing measured is lost on the way to a report, and every bad line is named."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cell import Cell, parse_cell
from matrix.dials import Reading
from matrix.errors import UsageError
from matrix.observation import Comparison, Ending, Failure, Observation, Phase, Price, QuantisationCost, Side
from matrix.rows import Family, RowOutcome
from matrix.stack import CPU_FLAGS
from matrix.verdict import Verdict
from reports.compact import json_schema, to_json
from reports.document import (
    ArchitectureFacts,
    EagerTrace,
    GuideEntry,
    Point,
    Process,
    ProcessMemory,
    Record,
    Report,
    RowRecord,
    Run,
    Sharded,
    Waived,
    make_report,
)
from reports.part import Part
from reports.reading import read_report
from reports.records import RecordWriter
from reports.write import write_json
from tests.builders import (
    HONEST,
    PROPERTY,
    PROVEN_ABSENT,
    REFUSAL,
    cells,
    completed,
    cuda_stack,
    ended,
    make_run,
    read_back,
    record_of,
)

ONE, TWO, THREE = "llama-float32-eager-prefill", "llama-float32-sdpa-prefill", "t5-float32-sdpa-left-generate"
FULL_FACTS = ArchitectureFacts(
    kind="decoder",
    family="text decoder",
    traits=["moe", "window"],
    model_type="llama",
    auto_class="AutoModelForCausalLM",
    weak="one layer",
    parameters=3,
)
FULL_RUN = make_run(
    ONE,
    TWO,
    narrowed="architecture=llama",
    command=["pytest", "-n", "2"],
    commit="0123abc",
    resumed=[datetime(2026, 1, 3, tzinfo=UTC)],
    python="3.11.7",
    platform="Linux",
    stack=cuda_stack({"flash-attn": "2.8.3"}, driver="580.95", cuda="cu130", compiler=False, cpu_flags=CPU_FLAGS),
    checkpoints={"llama": "/data/llama"},
    required=["cuda"],
    options={"--fault": "scale_2_percent"},
    k_max_single=5.5,
    k_mean_single=3.5,
    seed=2,
    launched=datetime(2026, 11, 26, 12, tzinfo=UTC),
    planned_rows=["property:forward_is_right[flash]", "regression:one"],
    shard=Sharded(number=2, of=3, planned=[ONE, TWO, THREE], planned_rows=["regression:one"]),
    guide=[GuideEntry(number="G1", name="a", about="b", rows={"guide": "guide:G1-a-guide"}, cells=[ONE])],
    architectures={"llama": FULL_FACTS},
)
TURNED = Reading("scale", "%", 5.0, 0.03, 0.99, also=("values",))
FULL_RECORD = record_of(
    TWO,
    Verdict.FLAKY,
    "first error, then 'supported'; \n\t\u00e9\u4e16 \U0001f600",
    expectation=PROVEN_ABSENT,
    observation=completed(
        parse_cell(TWO),
        failure=REFUSAL,
        missing=("flash-attn",),
        comparisons=(replace(HONEST, readings=(TURNED,)), replace(HONEST, regret_max=0.5, runs=2, quantised=True)),
        quantisation_cost=QuantisationCost(0.1, 0.2, 0.99),
        price=Price("quantisation", ONE, "pass", Side((0.5,), (0.25,), 1.5, 8, 16), Side((0.5,)), 1.5),
        declared={"_supports_sdpa": True},
        seconds={"load": 0.25},
        peak_memory_mib=12.5,
        wrong_scale=0.25,
    ),
    first_verdict=Verdict.ERROR,
    first_observation=completed(parse_cell(TWO), failure=REFUSAL, comparisons=(HONEST,)),
    waived=Waived(reason="a fault", url="https://example.org/1", reproducer="fault.py"),
    demanded=["flash-attn"],
    worker="gw1",
    seed=2,
)
FULL_RECORD.began, FULL_RECORD.took = 12.5, 0.75
FULL_TRACE = EagerTrace(
    fixture="llama-0123456789ab",
    files="0123456789ab",
    inputs="ba9876543210",
    padding="left",
    shape=[4, 144, 256],
    spread=2.0,
    numbers=[1.25, -3.5],
    missing=["a"],
    mismatched=["b"],
    unexpected=["c"],
    generation={"do_sample": "false"},
    tokens=[[1, 2], [3, 4]],
    unsaved=["d"],
    renamed=["e"],
    digests={"missing": "0123456789ab"},
    failures={"save": "OSError: full"},
    seconds=0.125,
    peak_mib=1.5,
)
FULL_ROW = RowRecord(
    family=Family.PROPERTY,
    name="forward_is_right[flash]",
    about="what it says",
    urls=["https://example.org/2"],
    outcome=RowOutcome.VIOLATED,
    reason="AssertionError: no",
    example="call=Call()",
    waived=Waived(reason="a fault", url="https://example.org/1"),
    seconds=0.5,
    began=3.25,
    worker="gw1",
    figures={"ratio": 2.5},
    points=[Point(subject="Llama-7B", backend="eager", seconds=[0.1, 0.2], failure="out of memory")],
    eager=FULL_TRACE,
)
FULL_MEMORY = ProcessMemory(host=3000.5, gpu=1024.0, beside=700.25, grown=-1.5, cells=200)
FULL_PROCESS = Process(worker="gw1", began=1.5, died=9.5, seconds={"start": 0.5}, memory=FULL_MEMORY)


def write_lines(path: Path, *lines: Run | Record | str) -> Path:
    """A records.jsonl of these lines, strings as they are."""
    text = "".join(line if isinstance(line, str) else line.model_dump_json() + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_run_and_its_records_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    writer = RecordWriter(path, FULL_RUN)
    writer.write(FULL_RECORD)
    writer.write(record_of(ONE))
    writer.close()
    run, records, unreadable = read_back(path)
    assert (run, unreadable) == (FULL_RUN, [])
    assert {record.cell: record for record in records} == {FULL_RECORD.cell: FULL_RECORD, ONE: record_of(ONE)}


def test_rows_come_back_in_plan_order_and_what_never_came_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    writer = RecordWriter(path, FULL_RUN)
    writer.write(FULL_ROW)
    writer.close()
    report = read_report(path)
    assert report.rows[0] == FULL_ROW
    assert [row.outcome for row in report.rows] == [RowOutcome.VIOLATED, RowOutcome.MISSING]
    assert [row.name for row in report.failing_rows] == ["one"]


def test_what_is_known_of_a_process_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    writer = RecordWriter(path, FULL_RUN)
    writer.write(FULL_PROCESS)
    writer.close()
    report = read_report(path)
    write_json(report, tmp_path)
    assert report.processes == read_report(tmp_path / "matrix.json").processes == [FULL_PROCESS]


def test_a_row_of_a_newer_release_is_named_and_the_rest_is_kept() -> None:
    run = make_run(ONE, planned_rows=["latency:prefill", "property:forward_is_right[flash]"])
    report = make_report(run, [record_of(ONE)], rows=[FULL_ROW])
    assert report.unreadable == ["planned: 'latency:prefill' is no row of this release"]
    assert report.rows == [FULL_ROW]


@pytest.mark.parametrize(
    ("outcome", "waived", "fails"),
    [
        (RowOutcome.HOLDS, False, False),
        (RowOutcome.UNAVAILABLE, False, False),
        (RowOutcome.VIOLATED, False, True),
        (RowOutcome.VIOLATED, True, False),
        (RowOutcome.MISSING, False, True),
    ],
)
def test_a_row_fails_the_run_unless_it_is_excused(outcome: RowOutcome, waived: bool, fails: bool) -> None:
    row = FULL_ROW.model_copy(update={"outcome": outcome, "waived": FULL_ROW.waived if waived else None})
    assert row.fails is fails


def test_a_claim_that_does_not_hold_is_an_answer() -> None:
    claim = FULL_ROW.model_copy(update={"family": Family.CLAIM, "waived": None})
    assert (claim.word, claim.fails) == ("does not hold", False)
    assert claim.model_copy(update={"outcome": RowOutcome.MISSING}).fails


TOLERANCES = ("k_max", "k_mean", "k_max_quantised", "k_mean_quantised")


def at_default(part: Part) -> set[str]:
    """The names of the fields that are what they would be unsaid."""
    fields = type(part).model_fields
    return {
        name for name, field in fields.items() if getattr(part, name) == field.get_default(call_default_factory=True)
    }


def test_the_full_record_of_these_tests_leaves_no_field_unsaid() -> None:
    """A field that is added must be added above, or its round trip goes unproven."""
    assert at_default(FULL_RECORD) == {"kind"}
    assert at_default(FULL_ROW) == {"kind"}
    assert at_default(FULL_TRACE) == set()
    assert at_default(FULL_FACTS) == set()
    assert at_default(FULL_MEMORY) == set()
    assert at_default(FULL_PROCESS) == {"kind"}
    assert at_default(FULL_RUN) == {"kind", "schema_version", *TOLERANCES}


def test_each_line_is_on_the_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    """Kept in a buffer, it would be lost when the controller is killed."""
    path = tmp_path / "records.jsonl"
    writer = RecordWriter(path, FULL_RUN)
    assert read_back(path)[0] == FULL_RUN
    writer.write(record_of(ONE))
    assert read_back(path)[1] == [record_of(ONE)]
    writer.close()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_survives_as_strict_json(tmp_path: Path, value: float) -> None:
    comparison = replace(HONEST, candidate_max=value, regret_max=value)
    observation = completed(parse_cell(ONE), comparisons=(comparison,), seconds={"load": value})
    path = write_lines(tmp_path / "records.jsonl", FULL_RUN, record_of(ONE, observation=observation))
    for line in path.read_text(encoding="utf-8").splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    _, (record,), unreadable = read_back(path)
    assert unreadable == []
    (found,) = record.observation.comparisons
    numbers = [found.candidate_max, found.regret_max, record.observation.seconds["load"], record.bounds[0].value]
    assert [repr(number) for number in numbers] == [repr(value)] * 4


@PROPERTY
@given(
    st.lists(cells(), min_size=1, max_size=4, unique=True),
    st.sampled_from(Verdict),
    st.sampled_from(Ending),
    st.floats(),
)
def test_any_record_is_one_line_that_reads_back(
    found: list[Cell], verdict: Verdict, ending: Ending, value: float
) -> None:
    comparison = replace(HONEST, candidate_mean=value)
    for cell in found:
        observation = Observation(ending, Failure(Phase.LOAD, "E", "a\nb\r\n\t\x00"), comparisons=(comparison,))
        record = record_of(cell.id, verdict, observation=observation)
        line = record.model_dump_json()
        assert "\n" not in line
        assert repr(Record.model_validate_json(line)) == repr(record)


def damaged(**changes: Any) -> str:
    """A line of a record in which these keys are something else; None takes the key away."""
    line = json.loads(record_of(TWO).model_dump_json()) | changes
    return json.dumps({key: value for key, value in line.items() if value is not None}) + "\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("{oh no\n", "Invalid JSON", id="corrupt"),
        pytest.param("5\n", "Input should be an object", id="a number"),
        pytest.param("null\n", "Input should be an object", id="null"),
        pytest.param(damaged(verdict="splendid"), "verdict: Input should be 'supported'", id="unknown verdict"),
        pytest.param(damaged(verdict=None), "verdict: Field required", id="no verdict"),
        pytest.param(damaged(cell=None), "cell: Field required", id="no cell"),
        pytest.param(
            damaged(observation={"ending": "gone"}), "observation.ending: Input should be", id="unknown ending"
        ),
        pytest.param(damaged(kind="run"), "Input tag 'run' found using 'kind'", id="a second run"),
        pytest.param(damaged(bounds=[{"name": "max"}]), "bounds.0.value: Field required", id="half a bound"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_kept(tmp_path: Path, line: str, words: str) -> None:
    path = write_lines(tmp_path / "records.jsonl", FULL_RUN, record_of(ONE), line, record_of(THREE))
    run, records, (complaint,) = read_back(path)
    assert run == FULL_RUN
    assert records == [record_of(ONE), record_of(THREE)]
    assert complaint.startswith(f"records.jsonl: line 3: {words}")
    assert "\n" not in complaint


def test_a_truncated_last_line_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    """The machine went away while the line was written."""
    path = write_lines(tmp_path / "records.jsonl", FULL_RUN, record_of(ONE), record_of(TWO).model_dump_json()[:80])
    _, records, (complaint,) = read_back(path)
    assert records == [record_of(ONE)]
    assert complaint.startswith("records.jsonl: line 3: Invalid JSON: EOF")


def test_bytes_that_are_no_text_spoil_only_their_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "records.jsonl", FULL_RUN)
    path.write_bytes(path.read_bytes() + b"\xff\xfe{\n" + record_of(ONE).model_dump_json().encode() + b"\n\n")
    _, records, unreadable = read_back(path)
    assert records == [record_of(ONE)]
    assert len(unreadable) == 1


@pytest.mark.parametrize(
    ("first", "words"),
    [
        pytest.param("", "empty", id="empty file"),
        pytest.param("{oh no\n", "line 1 is not a run", id="corrupt"),
        pytest.param("[1]\n", "line 1 is not a run", id="a list"),
        pytest.param('{"schema_version": "1.0"}\n', "line 1 is not a run", id="nothing but a version"),
        pytest.param(record_of(ONE).model_dump_json() + "\n", "line 1 is not a run", id="a record"),
    ],
)
def test_a_file_that_does_not_begin_with_a_run_is_refused(tmp_path: Path, first: str, words: str) -> None:
    path = write_lines(tmp_path / "records.jsonl", first)
    with pytest.raises(UsageError) as caught:
        read_back(path)
    assert str(caught.value).startswith(f"{path}: {words}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "."])
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=str(tmp_path)):
        read_back(tmp_path / name)


@pytest.mark.parametrize("version", ["3.0", "0.9", "10.0", "", "x"])
def test_another_major_schema_version_is_refused(tmp_path: Path, version: str) -> None:
    path = write_lines(tmp_path / "records.jsonl", FULL_RUN.model_copy(update={"schema_version": version}))
    with pytest.raises(UsageError, match=f"schema version '{version}'; this suite reads 1.x and 2.x"):
        read_back(path)


def test_a_newer_minor_schema_version_may_bring_fields_of_its_own(tmp_path: Path) -> None:
    newer = json.loads(FULL_RUN.model_dump_json()) | {"schema_version": "1.99", "weather": "fair"}
    path = write_lines(tmp_path / "records.jsonl", json.dumps(newer) + "\n", damaged(mood="calm"))
    run, records, unreadable = read_back(path)
    assert run == FULL_RUN.model_copy(update={"schema_version": "1.99"})
    assert records == [record_of(TWO)]
    assert unreadable == []


def test_a_planned_cell_without_a_record_is_missing_and_fails() -> None:
    report = make_report(make_run(ONE, TWO), [record_of(TWO)])
    assert [(record.cell, record.verdict) for record in report.records] == [
        (ONE, Verdict.MISSING),
        (TWO, Verdict.SUPPORTED),
    ]
    assert [record.cell for record in report.failures] == [ONE]
    assert report.counts == {"missing": 1, "supported": 1}


def test_the_last_record_of_a_cell_wins() -> None:
    first, last = record_of(ONE, Verdict.SUPPORTED), record_of(ONE, Verdict.ERROR)
    assert make_report(make_run(ONE), [first, last]).records == [last]
    assert make_report(make_run(ONE), [last, first]).records == [first]


def test_records_stand_in_the_order_of_the_plan() -> None:
    """They arrive in the order in which workers finish; what nobody planned comes last."""
    arrived = [record_of(THREE), record_of(TWO), record_of(ONE)]
    assert [record.cell for record in make_report(make_run(ONE, TWO, THREE), arrived).records] == [ONE, TWO, THREE]
    assert [record.cell for record in make_report(make_run(TWO, ONE), arrived).records] == [TWO, ONE, THREE]


def test_waived_records_are_counted_and_do_not_fail() -> None:
    report = make_report(make_run(TWO), [FULL_RECORD.model_copy(update={"demanded": []})])
    assert (report.waived, report.failures) == (1, [])


def test_a_report_comes_back_as_it_was() -> None:
    report = make_report(FULL_RUN, [FULL_RECORD], end=ended("a waiver is idle"), unreadable=["line 7"])
    assert Report.model_validate_json(report.model_dump_json()) == report


def types(schema: dict[str, Any], definitions: dict[str, Any]) -> set[str]:
    """The JSON types that a schema allows at its top."""
    if "$ref" in schema:
        return types(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    if "anyOf" in schema:
        return {name for part in schema["anyOf"] for name in types(part, definitions)}
    return {schema["type"]}


def walk(
    value: Any, schema: dict[str, Any], definitions: dict[str, Any], seen: Callable[[Any, set[str]], None]
) -> None:
    """Hold every value of a document against the types that its schema allows."""
    if not schema:  # anything
        return None
    if "anyOf" in schema:
        found = [part for part in schema["anyOf"] if JSON_TYPES[type(value)] in types(part, definitions)]
        assert found, f"{value!r} is none of {schema}"
        return walk(value, found[0], definitions, seen)
    if "$ref" in schema:
        return walk(value, definitions[schema["$ref"].removeprefix("#/$defs/")], definitions, seen)
    seen(value, types(schema, definitions))
    if isinstance(value, dict) and "properties" in schema:
        assert set(value) <= set(schema["properties"])
        assert set(schema.get("required", ())) <= set(value)
        for key, part in value.items():
            walk(part, schema["properties"][key], definitions, seen)
    elif isinstance(value, dict):
        for part in value.values():
            walk(part, schema["additionalProperties"], definitions, seen)
    elif isinstance(value, list):
        for part in value:
            walk(part, schema["items"], definitions, seen)
    return None


JSON_TYPES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


def test_a_report_is_what_its_schema_says() -> None:
    """A field that the schema does not know, or of another type, would mislead every reader of matrix.json."""
    report = make_report(FULL_RUN, [FULL_RECORD], end=ended("a waiver is idle"), unreadable=["line 7"])
    schema = json_schema()
    checked = []

    def seen(value: Any, allowed: set[str]) -> None:
        checked.append(value)
        assert JSON_TYPES[type(value)] in allowed, f"{value!r} is not {allowed}"

    walk(json.loads(report.model_dump_json()), schema, schema["$defs"], seen)
    twice = make_report(FULL_RUN, [FULL_RECORD, record_of(ONE)])
    walk(json.loads(to_json(twice)), schema, schema["$defs"], seen)
    assert len(checked) > 100
    assert Comparison.__name__ in schema["$defs"]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85"])
def test_any_message_comes_back(tmp_path: Path, character: str) -> None:
    observation = Observation(Ending.RAISED, Failure(Phase.LOAD, "E", f"a{character}b"))
    record = record_of(ONE, observation=observation)
    writer = RecordWriter(tmp_path / "records.jsonl", make_run(ONE))
    writer.write(record)
    writer.close()
    assert read_back(tmp_path / "records.jsonl")[1:] == ([record], [])


def test_a_run_from_before_there_were_facts_has_none(tmp_path: Path) -> None:
    older = json.loads(FULL_RUN.model_dump_json(exclude={"architectures"})) | {"schema_version": "1.5"}
    run, records, unreadable = read_back(write_lines(tmp_path / "records.jsonl", json.dumps(older) + "\n", FULL_RECORD))
    assert (run.architectures, run.schema_version) == ({}, "1.5")
    assert (FULL_RECORD in records, unreadable) == (True, [])


def test_the_schema_says_what_is_known_of_an_architecture() -> None:
    schema = json_schema()["$defs"]
    assert schema["Run"]["properties"]["architectures"]["additionalProperties"] == {"$ref": "#/$defs/ArchitectureFacts"}
    assert set(schema["ArchitectureFacts"]["properties"]) == set(ArchitectureFacts.model_fields)
    assert "architectures" not in schema["Run"]["required"]


def test_the_schema_allows_what_is_not_finite() -> None:
    bad = replace(HONEST, candidate_max=float("nan"))
    report = make_report(make_run(ONE), [record_of(ONE, observation=Observation(Ending.COMPLETED, comparisons=(bad,)))])
    value = json.loads(report.model_dump_json())["records"][0]["observation"]["comparisons"][0]["candidate_max"]
    assert value == "NaN"
    assert json_schema()["$defs"]["Comparison"]["properties"]["candidate_max"].get("type") != "number"


def test_a_record_in_place_of_the_run_is_said_to_be_no_run(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text(record_of(ONE).model_dump_json() + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 1 is not a run"):
        read_back(tmp_path / "records.jsonl")
