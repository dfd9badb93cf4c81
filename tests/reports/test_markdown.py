"""The summary in Markdown: failures first, and no field of a report becomes markup."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from matrix.rows import Family, RowOutcome
from matrix.verdict import Verdict
from reports.__main__ import app
from reports.document import SCHEMA_VERSION, Report, RowRecord, make_report
from reports.markdown import literal, summary_markdown
from reports.write import write_json, write_summary
from tests.builders import ended, make_run, record_of

ONE, TWO = "llama-bfloat16-sdpa-prefill", "opt-float16-sdpa-flash-generate"


def report(*problems: str, rows: tuple[RowRecord, ...] = ()) -> Report:
    records = [record_of(ONE, Verdict.INACCURATE, "off by | 3\nand more"), record_of(TWO)]
    return make_report(make_run(ONE, TWO), records, rows=list(rows), end=ended(*problems))


def test_failures_stand_with_the_commands_that_repeat_them() -> None:
    row = RowRecord(family=Family.REGRESSION, name="nan", outcome=RowOutcome.VIOLATED, reason="still")
    lines = summary_markdown(report("no GPU", rows=(row,))).splitlines()
    assert any(
        line.startswith("| inaccurate | llama-bfloat16-sdpa-prefill | off by &#124; 3 and more |") for line in lines
    )
    assert any(line.startswith("| still there | nan | still |") for line in lines)
    assert "- problem: no GPU" in lines
    assert "| backend | inaccurate | supported |" in lines
    assert "| sdpa | 1 |  |" in lines


def test_a_long_list_is_cut_and_counted() -> None:
    cells = [
        f"llama-{dtype}-{kind}-{pad}prefill"
        for dtype in ("float16", "float32", "bfloat16")
        for kind in ("eager", "sdpa", "sdpa-flash", "sdpa-math")
        for pad in ("", "left-", "right-")
    ]
    records = [record_of(cell, Verdict.ERROR, "x" * number) for number, cell in enumerate(cells, start=1)]
    text = summary_markdown(make_report(make_run(*cells), records, end=ended()))
    assert f"... and {len(cells) - 20} more; the report has them all." in text
    assert text.count("| error | llama") == 20


@pytest.mark.parametrize(
    "hostile",
    [
        "<img src=x>",
        "[a](javascript:alert(1))",
        "@everyone",
        "`code`",
        "a | b",
        "# head",
        "https://a.b",
        "&lt;",
        "www.a.b",
        "GH-1",
    ],
)
def test_nothing_in_a_text_is_markup(hostile: str) -> None:
    import html

    found = literal(hostile)
    assert not set(found.replace("&#", "")) & set("<>|`[]@#!")
    assert html.unescape(found) == hostile
    assert "://" not in found
    assert not {"www.", "GH-"} & {found[:4], found[:3]}


def test_nothing_in_a_text_steers_the_terminal_that_shows_it() -> None:
    assert literal("\x1b[2Ja\u202eb\x00") == "&#91;2Jab"


def test_a_job_gets_the_summary_and_one_that_cannot_has_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_job = tmp_path / "job.md"
    of_job.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(of_job))
    write_summary(report(), tmp_path)
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert of_job.read_text(encoding="utf-8") == "before\n" + text
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "job.md"))
    write_summary(report(), tmp_path)


def test_validate_names_what_is_wrong(tmp_path: Path) -> None:
    def asked(path: Path) -> tuple[int, str]:
        answer = CliRunner().invoke(app, ["validate", str(path)])
        return answer.exit_code, answer.output + str(answer.exception or "")

    write_json(report(), tmp_path)
    good = tmp_path / "matrix.json"
    status, said = asked(good)
    assert status == 0
    assert "a report of schema 2." in said
    assert "2 cells" in said
    text = good.read_text(encoding="utf-8")
    for broken, wanted in (
        (text.replace('"schema_version": "2.', '"schema_version": "3.'), "schema version '3."),
        (text.replace(':"inaccurate"', ':"odd"'), "unreadable: records: 0: verdict: Input should be"),
        (text[: len(text) // 2], "not a report"),
        ("[]", "not a report"),
    ):
        bad = tmp_path / "bad.json"
        bad.write_text(broken, encoding="utf-8")
        status, said = asked(bad)
        assert status != 0
        assert wanted in said
    newer = tmp_path / "newer.json"
    newer.write_text(
        text.replace(f'"schema_version": "{SCHEMA_VERSION}"', '"schema_version": "2.99"'), encoding="utf-8"
    )
    assert asked(newer)[0] == 0
