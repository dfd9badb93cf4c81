"""Reports as a repository keeps them: nothing lost or added, the same bytes each time, named by stack and profile."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from matrix.errors import UsageError
from matrix.stack import Device, Gpu, Stack
from reports.diff import compare
from reports.document import Report, Run, cut_off_after, make_report
from reports.keep import keep, kept_name
from reports.reading import read_report
from reports.write import write_json
from tests.builders import ROOT, ended, make_run, record_of

ONE, TWO = "llama-float32-eager-prefill", "llama-float32-sdpa-prefill"
PUBLISHED = sorted((ROOT / "reports" / "published").glob("*.json.gz"))


def report(**changes: Any) -> Report:
    return make_report(make_run(ONE, TWO, **changes), [record_of(ONE), record_of(TWO)], end=ended())


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run as the suite leaves it."""
    folder = tmp_path / "out" / "20261126"
    folder.mkdir(parents=True)
    write_json(report(), folder)
    return folder


def on(*gpus: str, **versions: str) -> Stack:
    device = Device.CUDA if gpus else Device.CPU
    return Stack(versions=versions, device=device, gpus=tuple(Gpu(name, 1, "9.0") for name in gpus))


def test_the_folder_of_a_run_is_kept_under_the_name_of_its_stack_and_nothing_of_it_changes(
    run_folder: Path, tmp_path: Path
) -> None:
    before = json.loads((run_folder / "matrix.json").read_text(encoding="utf-8"))
    kept = keep(run_folder, tmp_path)
    assert kept == tmp_path / f"{kept_name(report().run)}.json.gz"
    text = gzip.decompress(kept.read_bytes())
    assert json.loads(text) == before
    assert text == json.dumps(before, separators=(",", ":")).encode() + b"\n"
    assert compare(read_report(run_folder), read_report(kept)).differences == ()


def test_fields_of_another_minor_version_are_neither_lost_nor_added(run_folder: Path, tmp_path: Path) -> None:
    document = json.loads((run_folder / "matrix.json").read_text(encoding="utf-8"))
    document |= {"schema_version": "2.999", "mood": {"of the run": [1, 2.0, 1e-300, 1e22, -0.0, "ü", None]}}
    document["records"][0].pop("worker", None)
    (run_folder / "matrix.json").write_text(json.dumps(document), encoding="utf-8")
    kept = gzip.decompress(keep(run_folder, tmp_path).read_bytes())
    assert json.loads(kept) == document
    assert repr(json.loads(kept)) == repr(document)  # 2.0 is not 2, and the order is the same


def test_a_run_is_kept_as_the_same_bytes_by_any_process_at_any_time(run_folder: Path, tmp_path: Path) -> None:
    first = keep(run_folder, tmp_path / "first.json.gz").read_bytes()
    os.utime(run_folder / "matrix.json", (1, 1))
    for seed, name in (("1", "second"), ("2", "third")):
        answer = subprocess.run(
            [sys.executable, "-m", "reports", "keep", str(run_folder), "-o", str(tmp_path / f"{name}.json.gz")],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout == f"{tmp_path / name}.json.gz: {len(first):,} bytes\n"
        assert (tmp_path / f"{name}.json.gz").read_bytes() == first
    assert keep(tmp_path / "first.json.gz", tmp_path / "again.json.gz").read_bytes() == first
    write_json(report(seed=1), run_folder)
    assert keep(run_folder, tmp_path / "other.json.gz").read_bytes() != first


@pytest.mark.parametrize(
    ("stack", "profile", "name"),
    [
        (on(torch="2.13.0+cpu", transformers="5.23.0"), "pairwise", "cpu-torch2.13.0-transformers5.23.0"),
        (on(torch="2.13.0", transformers="5.23.0"), "smoke", "cpu-torch2.13.0-transformers5.23.0-smoke"),
        (
            on("NVIDIA H100 80GB HBM3", torch="2.11.0", transformers="5.17.0"),
            "pairwise",
            "nvidia-h100-torch2.11.0-transformers5.17.0",
        ),
        (
            on("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", torch="2.11.0"),
            "full",
            "nvidia-h100x2-torch2.11.0-full",
        ),
        (on("NVIDIA A100-SXM4-80GB"), "pairwise", "nvidia-a100-sxm4"),
        (on("NVIDIA GeForce RTX 4090"), "pairwise", "nvidia-geforce-rtx-4090"),
        (on("../../etc/\x1b[2J é", torch="/../x"), "../..", "etc-2j-torch-..-x"),
        (on("…"), "pairwise", "run"),
        (on("x" * 500), "pairwise", "x" * 100),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_the_name_says_device_versions_and_profile(stack: Stack, profile: str, name: str) -> None:
    assert kept_name(make_run(ONE, stack=stack, profile=profile)) == name


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (make_run(ONE, narrowed="dtype=float32"), "a run narrowed by dtype=float32 has no name of its own"),
        (make_run(), "a run without cells has no name of its own"),
    ],
    ids=["narrowed", "rows alone"],
)
def test_a_part_of_a_profile_does_not_take_the_place_of_the_whole(tmp_path: Path, run: Run, words: str) -> None:
    write_json(make_report(run, [], end=ended()), tmp_path)
    with pytest.raises(UsageError, match=rf"{words}: give it one with --output NAME\.json\.gz"):
        keep(tmp_path, tmp_path)
    assert keep(tmp_path, tmp_path / "part.json.gz").is_file()


@pytest.mark.parametrize(
    ("source", "output", "words"),
    [
        ("nowhere.json", "x.json.gz", r"nowhere\.json: No such file"),
        ("", "x.json", "must be a folder, or a file that ends in .json.gz"),
        ("", "x" * 5_000, "must be a folder, or a file that ends in .json.gz"),
        ("", "no/such/folder", "must be a folder, or a file that ends in .json.gz"),
        ("", "no/such/x.json.gz", r"x\.json\.gz: cannot be written to"),
        ("kept.json.gz", "kept.json.gz", "is not the source"),
        ("records.jsonl", "x.json.gz", r"records\.jsonl: the records of a run; python -m reports render makes"),
        ("partly.json", "x.json.gz", r"cannot be read whole: records: 0: .*validate .*partly\.json"),
        ("strange.json", "x.json.gz", r"strange\.json: holds what no report may: "),
        ("endless.json", "x.json.gz", r"endless\.json: holds what no report may: "),
    ],
)
def test_what_cannot_be_kept_is_refused_and_no_file_harmed(
    run_folder: Path, source: str, output: str, words: str
) -> None:
    text = (run_folder / "matrix.json").read_text(encoding="utf-8")
    kept = keep(run_folder, run_folder / "kept.json.gz").read_bytes()
    partly, strange, endless = json.loads(text), json.loads(text), json.loads(text)
    partly["records"][0]["verdict"] = "thoughtful"
    strange["colour"] = "\ud800"
    endless["seconds"] = float("inf")
    for name, document in (("partly", partly), ("strange", strange), ("endless", endless)):
        (run_folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    (run_folder / "records.jsonl").write_text(report().run.model_dump_json(), encoding="utf-8")
    with pytest.raises(UsageError, match=words):
        keep(run_folder / source, run_folder / output)
    assert not (run_folder / "x.json.gz").exists()
    assert (run_folder / "kept.json.gz").read_bytes() == kept
    assert (run_folder / "matrix.json").read_text(encoding="utf-8") == text


def test_no_report_is_published_plain() -> None:
    plain = {path.name for path in (ROOT / "reports" / "published").glob("*.json") if "-advice-" not in path.name}
    assert plain == {"calibration.json"}
    assert len(PUBLISHED) > 10


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_every_published_report_is_one_that_was_kept(path: Path) -> None:
    run, content = read_report(path).run, path.read_bytes()
    # Not the same bytes again: another zlib, with another Python, may choose other matches.
    assert content[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    text = gzip.decompress(content).decode()
    assert text == json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False) + "\n"
    if (run.planned and not run.narrowed) or run.guide:
        # A side of an upgrade that was run in part stands beside the whole, which it may not take the place of.
        side = "-upgrade" if run.profile == "pairwise" and "-k" in run.command else ""
        assert path.name == f"{kept_name(run)}{side}.json.gz"


def test_a_run_that_was_cut_off_does_not_take_the_place_of_a_whole_one(run_folder: Path, tmp_path: Path) -> None:
    report = read_report(run_folder / "matrix.json")
    cut = report.model_copy(update={"problems": [cut_off_after(report.run, [], [], "SIGTERM")]})
    write_json(cut, run_folder)
    with pytest.raises(UsageError, match=r"the run was cut off: SIGTERM; .* to keep it as it is"):
        keep(run_folder, tmp_path)
    assert keep(run_folder, tmp_path / "part.json.gz").is_file()
