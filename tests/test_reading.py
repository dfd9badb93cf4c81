"""Reports from elsewhere: nothing in a file is believed, and nothing that can be read is lost."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrix.errors import UsageError
from matrix.verdict import Verdict
from reports import reading
from reports.document import SCHEMA_VERSION, Report
from reports.html import render_html
from reports.part import LONGEST_TEXT
from reports.reading import read_report
from tests.builders import PROPERTY, ROOT
from tests.test_html import everything

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


@pytest.mark.parametrize("path", sorted((ROOT / "reports" / "published").glob("*-*.json")), ids=lambda path: path.stem)
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
    with pytest.raises(UsageError, match=r"schema version .{3,42}; this suite reads 1\.x: .*release of the suite"):
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


@pytest.mark.parametrize("name", ["matrix.json", "records.jsonl"])
def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(reading, "LARGEST", 1 << 20)
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(UsageError, match=rf"{name}: larger than 1 MiB"):
        read_report(tmp_path / name)


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
