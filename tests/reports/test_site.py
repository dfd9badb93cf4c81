"""A site of many runs: every run has its page, any two are compared, and no file of a folder breaks it."""

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from typer.testing import CliRunner

from matrix.advice.wanted import Prefer
from matrix.errors import UsageError
from matrix.stack import Stack
from matrix.verdict import Verdict
from reports import site as site_module
from reports.__main__ import app
from reports.advice import Held
from reports.compact import json_schema
from reports.document import Report, make_report
from reports.keep import keep
from reports.manifest import digest_of
from reports.packed import packed
from reports.runs import collect
from reports.site import publish
from tests.builders import ROOT, cuda_stack, ended, make_run, make_stack, record_of
from tests.reports.test_advice import advised

ONE, TWO = "llama-bfloat16-sdpa-prefill", "falcon-float16-flash_attention_2-left-generate"


def report(stack: Stack, *, one: Verdict = Verdict.SUPPORTED, **changes: Any) -> Report:
    records = [record_of(ONE, one), record_of(TWO)]
    return make_report(make_run(ONE, TWO, stack=stack, **changes), records, end=ended())


def put(made: Report, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made.model_dump_json(), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Runs as the suite leaves them and as people keep them."""
    runs = tmp_path / "runs of mine"
    put(report(make_stack({"transformers": "5.23.0"})), runs / "out" / "20261122" / "matrix.json")
    put(report(make_stack({"transformers": "4.48.3"}), one=Verdict.ERROR), runs / "old cpu.json")
    put(report(cuda_stack({"transformers": "5.23.0"})), runs / "h100" / "matrix.json")
    return runs


def test_what_is_advised_stands_on_the_front_with_a_page_of_its_own(folder: Path, tmp_path: Path) -> None:
    given, site = advised(), tmp_path / "site"
    for name, hardware in (("advice-of-mine/advice.json", "cpu"), ("mine-h100.json", "NVIDIA H100")):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(given.model_copy(update={"hardware": hardware}).model_dump_json(), encoding="utf-8")
    (folder / "broken.json").write_text('{"kind": "advice"}', encoding="utf-8")
    found = collect(folder, site)
    assert [one.name for one in found.advices] == ["mine-h100", "advice-of-mine"]
    assert [path.name for path in found.passed_over] == ["broken.json"]
    publish(found, site)
    assert broken_links(site) == []
    front = (site / "index.html").read_text(encoding="utf-8")
    table = front[front.index('<h2 id="advised">') :].partition("</section>")[0]
    assert table.count('<a href="advice/') == 4  # a page and its JSON of each
    assert table.count("<code>bfloat16-flash_attention_2</code>") == 2
    assert "bfloat16-sdpa-mem_efficient <small>wrong</small>" in table
    assert "&lt;b&gt;mine&lt;b&gt;" in table
    assert "<b>mine<b>" not in table
    page = (site / "advice" / "mine-h100.html").read_text(encoding="utf-8")
    assert '<a href="../index.html">All runs</a>' in page
    # Gone from the folder, gone from the site.
    (folder / "mine-h100.json").unlink()
    publish(collect(folder, site), site)
    assert not (site / "advice" / "mine-h100.html").exists()


def test_an_advice_that_was_held_against_everything_says_so_and_the_other_is_no_advice(
    folder: Path, tmp_path: Path
) -> None:
    quick, many, site = advised(), advised(Prefer.THROUGHPUT), tmp_path / "site"
    name = "bfloat16-flash_attention_2"
    held = [
        Held(prefer=Prefer.LATENCY, advised=name, ratio=1.0213, best="another", measured=16),
        Held(prefer=Prefer.THROUGHPUT, advised=name, ratio=1.0, best=name, measured=16),
    ]
    everything = quick.model_copy(update={"held": held})
    elsewhere = everything.model_copy(update={"hardware": "another"})
    otherwise = many.model_copy(update={"asked": many.asked.model_copy(update={"prompt": 7})})
    for file, one in {
        "quick": quick,
        "many": many,
        "otherwise": otherwise,
        "z-all": everything,
        "zz": elsewhere,
        "zz-again": elsewhere,
        "z-again": everything,
    }.items():
        (folder / f"{file}.json").write_text(one.model_dump_json(), encoding="utf-8")
    found = collect(folder, site)
    assert sorted(one.name for one in found.asked_for) == ["many", "otherwise", "quick", "zz", "zz-again"]
    publish(found, site)
    assert broken_links(site) == []
    front = (site / "index.html").read_text(encoding="utf-8")
    assert front.count('<small><a href="advice/z-all.html">1.021 × the best of all 16</a></small>') == 1
    assert front.count('<small><a href="advice/z-again.html">1.021 × the best of all 16</a></small>') == 1
    assert front.count('<small><a href="advice/z-all.html">the best of all 16</a></small>') == 1
    assert "Held against everything, latency: " in (site / "advice" / "z-all.html").read_text(encoding="utf-8")


def test_a_site_without_advice_says_nothing_of_it(folder: Path, tmp_path: Path) -> None:
    publish(collect(folder, tmp_path / "site"), tmp_path / "site")
    assert "What to run" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert not (tmp_path / "site" / "advice").exists()


class Links(HTMLParser):
    """Where a page leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def broken_links(site: Path) -> list[str]:
    broken = []
    for page in site.rglob("*.html"):
        for link in Links(page.read_text(encoding="utf-8")).found:
            parts = urlsplit(link)
            if not parts.scheme and parts.path and not (page.parent / unquote(parts.path)).is_file():
                broken.append(f"{page.name}: {link}")
    return broken


def test_every_run_has_its_page_and_every_pair_its_comparison_and_every_link_leads_somewhere(
    folder: Path, tmp_path: Path
) -> None:
    found = collect(folder, tmp_path / "site")
    assert [run.name for run in found.runs] == ["h100", "old-cpu", "out-20261122"]
    publish(found, tmp_path / "site")
    files = sorted(str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("*.*"))
    assert files == [
        "diff/h100--old-cpu.html",
        "diff/h100--out-20261122.html",
        "diff/old-cpu--out-20261122.html",
        "index.html",
        "matrix.schema.json",
        "published.json",
        *(f"runs/{name}.{kind}" for name in ("h100", "old-cpu", "out-20261122") for kind in ("html", "json")),
        "support.html",
        "support.json",
    ]
    assert broken_links(tmp_path / "site") == []
    assert json.loads((tmp_path / "site" / "matrix.schema.json").read_text()) == json_schema()
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    for part in (
        "NVIDIA H100",
        "CPU",
        "1 fails its run" if "1 fails its run" in index else "1 fail",
        "5.23.0",
        "4.48.3",
    ):
        assert part in index
    pair = (tmp_path / "site" / "diff" / "old-cpu--out-20261122.html").read_text(encoding="utf-8")
    assert "error -&gt; supported" in pair
    assert f"../runs/out-20261122.html#cell%3D{ONE}" in pair or f"../runs/out-20261122.html#cell={ONE}" in pair


def test_the_test_of_links_can_fail(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<a href="runs/none.html">x</a><a href="#here">y</a>')
    assert broken_links(tmp_path) == ["index.html: runs/none.html"]


def test_how_often_a_cell_was_flaky_is_said_of_the_runs_that_tried_it(tmp_path: Path) -> None:
    verdicts = [Verdict.FLAKY, Verdict.SUPPORTED, Verdict.FLAKY, Verdict.INACCURATE, Verdict.UNAVAILABLE]
    for number, verdict in enumerate(verdicts):
        put(report(make_stack({"transformers": f"5.{number}"}), one=verdict), tmp_path / "runs" / f"r{number}.json")
    steady = make_report(make_run(TWO), [record_of(TWO, Verdict.FLAKY)], end=ended())
    put(steady, tmp_path / "runs" / "other.json")
    answer = CliRunner().invoke(app, ["publish", str(tmp_path / "runs"), "-o", str(tmp_path / "site")])
    assert [line for line in answer.output.splitlines() if line.startswith("flaky: ")] == [
        f"flaky: {ONE} in 2 of 4 runs that tried it",
        f"flaky: {TWO} in 1 of 6 runs that tried it",
    ]
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert f'<th scope="row">{ONE}</th><td>in 2 of 4 runs</td>' in index
    assert f'href="runs/r2.html#cell={ONE}"' in index
    assert broken_links(tmp_path / "site") == []


def test_of_runs_in_which_nothing_was_flaky_nothing_is_said(folder: Path, tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["publish", str(folder), "-o", str(tmp_path / "site")])
    assert "flaky" not in answer.output
    assert "come and go" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_runs_with_nothing_in_common_are_not_compared(tmp_path: Path) -> None:
    put(report(make_stack()), tmp_path / "a.json")
    lone = make_report(make_run("t5-float32-eager-prefill"), [record_of("t5-float32-eager-prefill")], end=ended())
    put(lone, tmp_path / "b.json")
    publish(collect(tmp_path, tmp_path / "site"), tmp_path / "site")
    assert list((tmp_path / "site" / "diff").iterdir()) == []
    assert "no two runs with cells or rows in common" in (tmp_path / "site" / "index.html").read_text()


def test_of_many_runs_the_newest_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_module, "_COMPARED", 2)
    base = report(make_stack())
    for day in (1, 2, 3):
        started = base.run.started.replace(day=day)
        put(base.model_copy(update={"run": base.run.model_copy(update={"started": started})}), tmp_path / f"{day}.json")
    publish(collect(tmp_path, tmp_path / "site"), tmp_path / "site")
    assert [path.name for path in (tmp_path / "site" / "diff").iterdir()] == ["2--3.html"]
    assert "Of 3 runs the newest 2" in (tmp_path / "site" / "index.html").read_text()


def releases(folder: Path, numbers: range) -> None:
    for number in numbers:
        put(report(make_stack({"transformers": f"5.{number}.0"})), folder / f"5.{number}" / "matrix.json")


def test_of_a_sweep_over_releases_neighbours_are_compared_and_its_ends_with_all_others(tmp_path: Path) -> None:
    releases(tmp_path / "runs", range(1, 7))
    put(report(cuda_stack()), tmp_path / "runs" / "h100.json")
    publish(collect(tmp_path / "runs", tmp_path / "site"), tmp_path / "site")
    made = {path.stem for path in (tmp_path / "site" / "diff").iterdir()}
    steps = {f"5.{number}--5.{number + 1}" for number in range(1, 6)}
    assert made == steps | {"h100--5.1", "h100--5.6", "5.1--5.6"}
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert index.index('id="steps"') < index.index('aria-label="5.1 to 5.2"')
    assert index.index('aria-label="h100 to 5.6"') < index.index('id="steps"')
    assert broken_links(tmp_path / "site") == []


def test_pages_of_runs_that_are_gone_are_taken_away_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    publish(collect(folder, site), site)
    mine = {
        site / "notes.txt": "mine",
        site / "runs" / "mine.html": "mine",
        site / "runs" / "old-cpu.json": "what I made of it",  # in place of what was published
    }
    for path, text in mine.items():
        path.write_text(text, encoding="utf-8")
    (folder / "old cpu.json").unlink()
    publish(collect(folder, site), site)
    left = {str(path.relative_to(site)) for path in site.rglob("*.*")}
    assert {str(path.relative_to(site)) for path in mine} <= left
    assert not {"runs/old-cpu.html", "diff/h100--old-cpu.html", "diff/old-cpu--out-20261122.html"} & left
    assert {"runs/h100.html", "runs/out-20261122.html", "diff/h100--out-20261122.html", "index.html"} <= left
    assert "runs/old-cpu.html" not in (site / "published.json").read_text(encoding="utf-8")
    assert broken_links(site) == []


def test_a_list_of_files_from_elsewhere_takes_nothing_away(folder: Path, tmp_path: Path) -> None:
    site, treasure = tmp_path / "site", tmp_path / "treasure.html"
    (site / "runs").mkdir(parents=True)
    treasure.write_text("mine", encoding="utf-8")
    (site / "runs" / "link.html").symlink_to(treasure)
    digest = digest_of(b"mine")
    paths = ["../treasure.html", str(treasure), "runs/link.html", "runs/../../treasure.html", "treasure.html\n"]
    (site / "published.json").write_text(json.dumps({"files": dict.fromkeys(paths, digest)}), encoding="utf-8")
    publish(collect(folder, site), site)
    assert treasure.read_text(encoding="utf-8") == "mine"
    assert (site / "runs" / "link.html").is_symlink()


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', '{"files": {"runs/a.html": 3}}', "[" * 50_000])
def test_a_list_of_files_that_is_none_stops_nothing(folder: Path, tmp_path: Path, text: str) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "published.json").write_text(text, encoding="utf-8")
    publish(collect(folder, site), site)
    assert "index.html" in (site / "published.json").read_text(encoding="utf-8")


def test_a_run_of_a_commit_that_nobody_has_says_so(tmp_path: Path) -> None:
    put(report(make_stack(), commit="46e7f72"), tmp_path / "clean.json")
    put(report(cuda_stack(), commit="26682fa-dirty"), tmp_path / "dirty.json")
    publish(collect(tmp_path, tmp_path / "site"), tmp_path / "site")
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert index.count("with changes that no commit has") == 1
    assert "commit 26682fa</small> <small class" in index
    assert "commit 46e7f72</small></td>" in index


def test_copies_links_and_the_site_itself_are_no_runs_of_their_own(folder: Path) -> None:
    copy = (folder / "h100" / "matrix.json").read_bytes()
    (folder / "zz-copy.json").write_bytes(copy)
    (folder / "latest").symlink_to(folder / "h100")
    site = folder / "site"
    for _ in range(2):
        found = collect(folder, site)
        assert len(found.runs) == 3
        publish(found, site)


def test_packed_reports_are_runs_like_others_and_their_data_stays_packed(tmp_path: Path) -> None:
    runs, site = tmp_path / "runs", tmp_path / "site"
    plain = put(report(make_stack()), tmp_path / "matrix.json")
    for name in ("20261126/matrix.json.gz", "old cpu-5.23.0.json.gz"):
        (runs / name).parent.mkdir(parents=True, exist_ok=True)
        keep(plain, runs / name)
        plain = put(report(cuda_stack()), plain)
    (runs / "cut.json.gz").write_bytes((runs / "old cpu-5.23.0.json.gz").read_bytes()[:-20])
    (runs / "notes.json.gz").write_bytes(packed(b"[1, 2]"))
    found = collect(runs, site)
    assert [run.name for run in found.runs] == ["old-cpu-5.23.0", "20261126"]
    assert [path.name for path in found.passed_over] == ["notes.json.gz"]
    assert [line.partition(";")[0] for line in found.unreadable] == ["cut.json.gz: what gzip packed is cut off"]
    publish(found, site)
    assert broken_links(site) == []
    for run in found.runs:
        assert (site / "runs" / f"{run.name}.json.gz").read_bytes() == run.source.read_bytes()
        assert f'href="runs/{run.name}.json.gz"' in (site / "index.html").read_text(encoding="utf-8")
        page = (site / "runs" / f"{run.name}.html").read_text(encoding="utf-8")
        assert f'<a href="{run.name}.json.gz">{run.name}.json.gz</a>' in page


def test_a_packed_copy_is_no_run_of_its_own(folder: Path, tmp_path: Path) -> None:
    keep(folder / "h100", folder / "h100" / "matrix.json.gz")
    keep(folder / "old cpu.json", folder / "a-copy.json.gz")
    assert [run.name for run in collect(folder, tmp_path / "site").runs] == ["h100", "a-copy", "out-20261122"]


def test_what_is_no_report_is_passed_over_and_what_is_broken_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "calibration.json").write_text('{"honest": [], "faults": []}')
    (folder / "list.json").write_text("[1, 2]")
    (folder / "cut.json").write_text((folder / "old cpu.json").read_text()[:-40])
    newer = json.loads((folder / "old cpu.json").read_text()) | {"schema_version": "3.0"}
    (folder / "newer.json").write_text(json.dumps(newer))
    (folder / "<img src=x>.json").write_text("{")
    answer = CliRunner().invoke(app, ["publish", str(folder), "-o", str(tmp_path / "site")])
    assert answer.exit_code == 0
    assert "3 runs, " in answer.output
    named = [line for line in answer.output.splitlines() if line.startswith("unreadable: ")]
    assert [line.partition(":")[2].strip().partition(":")[0] for line in named] == [
        "<img src=x>.json",
        "cut.json",
        "newer.json",
    ]
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "&lt;img src=x&gt;.json" in index
    assert "schema version &#39;3.0&#39;; this suite reads 1.x" in index
    assert "Passed over, for it is no report: calibration.json, list.json." in index


def test_links_that_lead_nowhere_or_elsewhere_do_no_harm(folder: Path, tmp_path: Path) -> None:
    (folder / "loop.json").symlink_to("loop.json")
    (folder / "gone.json").symlink_to("nowhere.json")
    os.close(os.open(os.fsencode(folder) + b"/\xff.json", os.O_CREAT))
    site, treasure = tmp_path / "site", tmp_path / "treasure"
    treasure.write_text("mine")
    (site / "runs").mkdir(parents=True)
    (site / "runs" / "h100.json").symlink_to(treasure)
    (site / "runs" / "old-cpu.json").symlink_to(folder / "old cpu.json")
    (site / "index.html").symlink_to(treasure)
    for _ in range(2):
        found = collect(folder, site)
        assert [len(found.runs), len(found.unreadable)] == [3, 1]
        publish(found, site)
    assert treasure.read_text() == "mine"


@pytest.mark.parametrize("site", ["", ".."])
def test_a_site_is_not_written_over_its_reports(folder: Path, site: str) -> None:
    with pytest.raises(UsageError, match="holds the reports themselves; name another folder"):
        collect(folder, folder / site)


@pytest.mark.parametrize("name", ["../../escape", "a/../../b", "...", "é ü", "-o", "x" * 150, "a b/matrix"])
def test_the_name_of_a_run_never_leads_out_of_the_site(tmp_path: Path, name: str) -> None:
    runs = tmp_path / "in" / "deep"
    path = (runs / f"{name}.json").resolve()
    put(report(make_stack()), path)
    put(report(cuda_stack()), path.with_name(f"{path.name}.json"))
    found = collect(tmp_path, tmp_path / "site")
    pages = publish(found, tmp_path / "site")
    assert all((tmp_path / "site").resolve() in page.resolve().parents for page in pages)
    assert len({page.name for page in pages if page.parent.name == "runs"}) == 2
    assert broken_links(tmp_path / "site") == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.write_text("x"), "no such folder"),
        (lambda path: path.mkdir(), "no report in it; python -m pytest writes"),
    ],
)
def test_a_folder_without_reports_is_refused_with_the_remedy(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path / "runs")
    with pytest.raises(UsageError, match=words):
        collect(tmp_path / "runs", tmp_path / "site")


def test_a_folder_of_a_name_that_none_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        collect(tmp_path / ("x" * 5_000), tmp_path / "site")


def test_a_site_that_cannot_be_written_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "site").write_text("a file")
    with pytest.raises(UsageError, match="site: cannot be written to"):
        publish(collect(folder, tmp_path / "site"), tmp_path / "site")


WITHOUT_STACK = """
import sys
class Refuse:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {"torch", "transformers", "accelerate", "numpy", "bitsandbytes", "pytest"}:
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Refuse())
from reports.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "{one}"],
        ["render", "{one}", "--output", "{tmp}"],
        ["diff", "{one}", "{two}"],
        ["diff", "{one}", "{two}", "--format", "html", "-o", "{tmp}/diff.html"],
        ["keep", "{one}", "-o", "{tmp}/one.json.gz"],
        ["publish", "{runs}", "-o", "{tmp}/site"],
        ["schema"],
    ],
    ids=" ".join,
)
def test_reports_need_no_stack(folder: Path, tmp_path: Path, arguments: list[str]) -> None:
    names = {"one": folder / "old cpu.json", "two": folder / "h100" / "matrix.json", "runs": folder, "tmp": tmp_path}
    given = [argument.format(**names) for argument in arguments]
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT_STACK, *given],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("name", ["runs", "diff"])
def test_a_folder_of_the_site_that_leads_elsewhere_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    site.mkdir()
    elsewhere.mkdir()
    (elsewhere / "h100.json").write_text("mine", encoding="utf-8")
    (site / name).symlink_to(elsewhere)
    with pytest.raises(UsageError, match=rf"site/{name}: is a link to another folder; remove it"):
        publish(collect(folder, site), site)
    assert [path.name for path in elsewhere.iterdir()] == ["h100.json"]
    assert (elsewhere / "h100.json").read_text(encoding="utf-8") == "mine"
