"""Where a command writes is made before it measures, or refused; what is written again and again stays one file."""

import io
from pathlib import Path

import pytest

from matrix.errors import UsageError
from reports import files
from reports.files import make_room_for, write_over


def test_the_folder_of_a_file_is_made_or_refused(tmp_path: Path) -> None:
    make_room_for(tmp_path / "new" / "folder" / "x.json")
    assert (tmp_path / "new" / "folder").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file: cannot be written to: File exists"):
        make_room_for(tmp_path / "file" / "x.json")


def test_what_is_written_over_is_all_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "crumb"
    for content in (b"short", b"somewhat longer", b"short again", b""):
        write_over(path, content)
        assert path.read_bytes() == content


def test_whoever_reads_before_it_is_short_enough_finds_blanks_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "crumb", list[bytes]()

    class Watched(io.FileIO):
        def truncate(self, size: int | None = None) -> int:
            seen.append(path.read_bytes())
            return super().truncate(size)

    monkeypatch.setattr(files, "open", lambda file, *_, **__: Watched(file, "w"), raising=False)
    for content in (b"somewhat longer", b"short"):
        write_over(path, content)
    assert seen == [b"somewhat longer", b"short          "]
