"""Reports from elsewhere: nothing in a file is believed, and nothing that can be read is lost."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrix.errors import UsageError
from matrix.verdict import Verdict
from reports import packed
from reports.compact import to_json
from reports.document import SCHEMA_VERSION, Report
from reports.html import render_html, render_stacks, render_support
from reports.part import LONGEST_TEXT
from reports.reading import read_report
from reports.support import all_series
from tests.builders import PROPERTY, ROOT, make_run
from tests.reports.test_html import everything

WHOLE: dict[str, Any] = json.loads(everything().model_dump_json())
NEWER = f"{SCHEMA_VERSION.split('.')[0]}.999"
OTHER = f"{int(SCHEMA_VERSION.split('.')[0]) + 1}.0"


def read(folder: Path, document: object) -> Report:
    path = folder / "matrix.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return read_report(path)


def changed(*place: str | int, to: object) -> dict[str, Any]:
    """The whole report with another value in one place."""
    document = copy.deepcopy(WHOLE)
    inner: Any = document
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = to
    return document


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert json.loads(read(tmp_path, WHOLE).model_dump_json()) == WHOLE


@pytest.mark.parametrize("path", sorted((ROOT / "reports" / "published").glob("*.json.gz")), ids=lambda path: path.name)
def test_every_published_report_can_be_read(path: Path) -> None:
    report = read_report(path)
    assert (report.unreadable, Verdict.MISSING.value in report.counts) == ([], False)


def test_a_newer_minor_version_is_read_and_what_this_release_does_not_know_is_named(tmp_path: Path) -> None:
    document = changed("schema_version", to=NEWER) | {"mood": {"of": "the run"}}
    document["records"][0]["verdict"] = "thoughtful"
    document["records"][1]["colour"] = document["run"]["weather"] = "green"
    document["rows"][0]["outcome"] = "sings"
    report = read(tmp_path, document)
    assert report.schema_version == NEWER
    assert [line.partition(": Input")[0] for line in report.unreadable] == [
        "line 3",
        "records: 0: verdict",
        "rows: 0: outcome",
    ]
    assert [record.cell for record in report.records] == [record["cell"] for record in WHOLE["records"]]
    assert [record.verdict for record in report.records].count(Verdict.MISSING) == 1  # planned, so it is not lost
    assert len(report.rows) == len(WHOLE["rows"]) - 1
    assert "unreadable" in render_html(report).lower()


@pytest.mark.parametrize("version", [OTHER, "0.9", "x", None, 1.2, ["1.2"], "9" * 500], ids=str)
def test_another_major_version_is_refused_with_the_remedy(tmp_path: Path, version: object) -> None:
    with pytest.raises(UsageError, match=r"schema version .{3,42}; this suite reads 1\.x and 2\.x: .*release"):
        read(tmp_path, changed("schema_version", to=version))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_report_is_refused_and_what_rebuilds_it_named(tmp_path: Path, share: float) -> None:
    text = json.dumps(WHOLE)
    with pytest.raises(UsageError, match=r"matrix\.json: not a report") as refused:
        read(tmp_path, text[: int(len(text) * share)])
    assert "render" not in str(refused.value)
    (tmp_path / "records.jsonl").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match=r"python -m reports render .*records\.jsonl rebuilds it"):
        read(tmp_path, text[: int(len(text) * share)])


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"schema_version": "1.2", "run": ' + '{"a":' * 50_000, "nested too deeply"),
        ("[]", "neither schema_version nor run"),
        ("{}", "neither schema_version nor run"),
        ('{"honest": [], "faults": []}', "neither schema_version nor run"),
        ('{"schema_version": "1.2"}', "Run"),
        ("9" * 5000, "not a report"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_no_report_is_refused(tmp_path: Path, document: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(tmp_path, document)


@pytest.mark.parametrize("name", ["matrix.json", "matrix.json.gz", "records.jsonl"])
def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(packed, "LARGEST", 1 << 20)
    with (tmp_path / name).open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(UsageError, match=rf"{name}: larger than 1 MiB"):
        read_report(tmp_path / name)


@pytest.mark.parametrize("name", ["matrix.json", "matrix.json.gz", "records.jsonl"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "endless").mkdir()
    (tmp_path / "endless" / name).symlink_to("/dev/zero")
    os.mkfifo(tmp_path / name)
    for folder in (tmp_path, tmp_path / "endless"):
        with pytest.raises(UsageError, match=rf"{name}: is a device or a pipe, not a file"):
            read_report(folder / name)


@pytest.mark.parametrize(
    ("place", "named"),
    [
        (("records", 0, "reason"), "records: 0: reason: String should have at most"),
        (("records", 0, "observation", "failure", "message"), "records: 0: observation.failure.message: String"),
        (("records", 0, "observation", "evidence", "warnings"), "records: 0: observation.evidence.warnings"),
        (("rows", 0, "example"), "rows: 0: example: String"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("long", ["x" * (LONGEST_TEXT + 1), "\ud800"], ids=["long", "no text"])
def test_a_text_that_cannot_be_shown_costs_its_record_alone(
    tmp_path: Path, place: tuple[str | int, ...], named: str, long: str
) -> None:
    report = read(tmp_path, changed(*place, to=[long] if place[-1] == "warnings" else long))
    assert report.unreadable[1].startswith(named.partition(" String")[0])
    assert len(report.unreadable) == 2
    render_html(report).encode()


@pytest.mark.parametrize(
    ("name", "value"), [("counts", {"supported": 99}), ("counts", None), ("waived", 0), ("waived", "all")]
)
def test_counts_that_the_records_do_not_bear_out_are_named_and_taken_anew(
    tmp_path: Path, name: str, value: object
) -> None:
    report = read(tmp_path, changed(name, to=value))
    assert (report.counts, report.waived) == (WHOLE["counts"], WHOLE["waived"])
    assert report.unreadable[-1].startswith(f"{name}: the file says {value}, its records ")


LONG = 10**6


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("schema_version",), "1.\ud800", "schema version"),
        (("schema_version",), "1." + "9" * LONG, "schema version"),
        (("schema_version",), "1.²", "schema version"),
        (("records",), [0] * 100_001, "more than 100,000 records"),
        (("rows",), [{}] * 100_001, "more than 100,000 records"),
        (("run", "planned"), [0] * LONG, "planned"),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value)[:30],
)
def test_what_is_beyond_measure_is_refused_in_one_short_line(
    tmp_path: Path, place: tuple[str, ...], value: object, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        read(tmp_path, changed(*place, to=value))
    assert len(str(refused.value)) < 1000
    str(refused.value).encode()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("counts",), "\ud800" * 5000),
        (("records", 0, "demanded"), [0] * LONG),
        (("records", 0, "bounds"), [{"name": "x", "value": 1, "allowed": 1, "ratio": 1}] * 20_000),
        (("records",), [0] * 50_000),
        (("run", "planned"), ["<b>" * 30_000] * 20),
        (("run", "planned_rows"), ["<b>" * 30_000] * 20),
        (("unreadable",), ["x" * 90_000] * 2000),
        (("run", "guide"), [{"number": "G²", "name": "a"}, {"number": "G" + "9" * 5000, "name": "b"}]),
        (("run", "stack", "versions", "transformers"), "9" * 5000),
        (("records", 3, "observation", "evidence", "weight_bytes"), 10**400),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_is_beyond_measure_in_a_part_neither_stops_nor_swells_the_page(
    tmp_path: Path, place: tuple[str | int, ...], value: object
) -> None:
    report = read(tmp_path, changed(*place, to=value))
    assert len(report.unreadable) <= 1001
    page = render_html(report)
    assert len(page.encode()) < 4 * 2**20
    render_stacks([report]).encode()
    render_support(all_series([report])).encode()


def test_a_line_beyond_measure_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    run = json.dumps(WHOLE["run"])
    record = json.dumps(WHOLE["records"][0] | {"demanded": [0] * LONG})
    path.write_text(f"{run}\n{record}\n{json.dumps(WHOLE['records'][1])}\n" + "0\n" * 3000, encoding="utf-8")
    report = read_report(path)
    assert "line 2: more than 20,000 values in one record" in report.unreadable[0]
    assert report.unreadable[-1] == "... and 2,001 more"
    assert report.records[1].verdict is not Verdict.MISSING
    path.write_text(run + "\n0" * 100_001, encoding="utf-8")
    with pytest.raises(UsageError, match="more than 100,000 records"):
        read_report(path)


def test_a_time_without_its_zone_is_refused(tmp_path: Path) -> None:
    for place in (("finished",), ("run", "started")):
        with pytest.raises(UsageError, match=rf"{place[-1]}: .*timezone"):
            read(tmp_path, changed(*place, to="2026-11-22T10:00:00"))


@pytest.mark.parametrize("value", [None, 3, "abc", {"a": 1}])
@pytest.mark.parametrize("name", ["records", "rows"])
def test_records_that_are_no_list_are_named(tmp_path: Path, name: str, value: object) -> None:
    assert f"{name}: a list was expected" in read(tmp_path, changed(name, to=value)).unreadable


def test_a_cell_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    document = changed("records", to=[*WHOLE["records"], *WHOLE["records"]])
    assert len(read(tmp_path, document).records) == len(WHOLE["records"])


def places(value: Any, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for name, part in parts for place in places(part, (*here, name)))]


PLACES = places(WHOLE)[1:]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@settings(PROPERTY, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), value=ANYTHING)
def test_whatever_stands_in_a_report_it_is_refused_or_it_renders(
    tmp_path: Path, place: tuple[str | int, ...], value: object
) -> None:
    try:
        report = read(tmp_path, changed(*place, to=value))
    except UsageError:
        return
    render_html(report).encode()
    report.model_dump_json().encode()  # by which copies are told from other runs


def test_a_complaint_does_not_grow_with_every_reading(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(make_run("llama-float8-eager-prefill").model_dump_json() + "\n{\n", encoding="utf-8")
    report = read_report(path)
    assert len(report.unreadable) == 2
    for _ in range(2):
        (tmp_path / "matrix.json").write_text(to_json(report), encoding="utf-8")
        assert read_report(tmp_path / "matrix.json").unreadable == report.unreadable
