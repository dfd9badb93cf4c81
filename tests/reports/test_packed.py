"""Packed reports: read as plain ones are, refused where they are broken or swell, and the same bytes each time."""

import gzip
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from matrix.errors import UsageError
from reports import packed as packed_module
from reports.packed import packed, read_plain, report_file
from reports.reading import read_report
from reports.records import RecordWriter
from tests.builders import ROOT, ended, make_run, record_of
from tests.reports.test_html import everything

TEXT = everything().model_dump_json()
PACKED = packed(TEXT.encode())


def put(folder: Path, content: bytes, name: str = "matrix.json.gz") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("matrix.json.gz", PACKED),
        ("some-gpu.json.gz", gzip.compress(TEXT.encode(), 1)),
        ("inflated-on-its-way.json.gz", TEXT.encode()),
        ("packed-without-a-word.json", PACKED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_report_is_the_same_packed_or_not_whatever_its_name_says(tmp_path: Path, name: str, content: bytes) -> None:
    assert read_report(put(tmp_path, content, name)).model_dump_json() == TEXT


def test_packed_records_add_up_to_the_same_report(tmp_path: Path) -> None:
    cell = "llama-float32-eager-prefill"
    writer = RecordWriter(tmp_path / "records.jsonl", make_run(cell))
    writer.write(record_of(cell))
    writer.write(ended())
    writer.close()
    plain = read_report(tmp_path / "records.jsonl")
    content = (tmp_path / "records.jsonl").read_bytes()
    assert read_report(put(tmp_path, packed(content), "records.jsonl.gz")) == plain


def test_the_folder_of_a_run_stands_for_its_report_and_what_the_suite_wrote_comes_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"without matrix\.json, matrix\.json\.gz or records\.jsonl; name a report"):
        report_file(tmp_path)
    lines = put(tmp_path, b"", "records.jsonl")
    assert report_file(tmp_path) == lines
    kept = put(tmp_path, PACKED)
    assert report_file(tmp_path) == kept
    assert read_report(tmp_path).model_dump_json() == TEXT
    plain = put(tmp_path, TEXT.encode(), "matrix.json")
    assert report_file(tmp_path) == plain
    assert report_file(kept) == kept


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.9999])
def test_a_packed_report_that_is_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(UsageError, match=r"matrix\.json\.gz: (what gzip packed is cut off; .*keep RUN|not a report)"):
        read_report(put(tmp_path, PACKED[: int(len(PACKED) * share)]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (PACKED[:200] + bytes([PACKED[200] ^ 255]) + PACKED[201:], r"is corrupt \(.+\)"),
        (PACKED[:-8] + bytes(4) + PACKED[-4:], r"is corrupt \(.*incorrect data check\)"),
        (PACKED[:-4] + bytes(4), r"is corrupt \(.*incorrect length check\)"),
        (PACKED[:2] + b"\x07" + PACKED[3:], r"is corrupt \(.*compression method\)"),
        (PACKED + PACKED, "is followed by something else"),
        (PACKED + b"x", "is followed by something else"),
    ],
    ids=["content", "checksum", "length", "method", "another member", "a letter"],
)
def test_a_packed_report_that_is_broken_is_refused_with_the_remedy(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=rf"matrix\.json\.gz: what gzip packed {words}; fetch it anew, or .*keep RUN"):
        read_report(put(tmp_path, content))


def test_what_inflates_without_end_is_refused_before_it_is_inflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_module, "LARGEST", 1 << 20)
    assert len(read_plain(put(tmp_path, packed(b" " * (1 << 20))))) == 1 << 20
    with pytest.raises(UsageError, match=r"matrix\.json\.gz: inflates to more than 1 MiB"):
        read_plain(put(tmp_path, packed(b" " * ((1 << 20) + 1))))
    bomb = put(tmp_path, packed(b" " * (64 << 20)))
    assert bomb.stat().st_size < 1 << 17
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=r"matrix\.json\.gz: inflates to more than 1 MiB"):
            read_plain(bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_what_is_packed_holds_neither_time_nor_name_nor_machine() -> None:
    # RFC 1952: deflate, no flags, no time, the slowest method, an unknown operating system.
    assert PACKED[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    assert gzip.decompress(PACKED) == TEXT.encode()
    assert json.loads(gzip.decompress(PACKED)) == json.loads(TEXT)


def test_another_process_packs_to_the_same_bytes(tmp_path: Path) -> None:
    code = "import sys; from reports.packed import packed; sys.stdout.buffer.write(packed(sys.stdin.buffer.read()))"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        input=TEXT.encode(),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
    )
    assert answer.stdout == PACKED
