"""Where a command writes is made before it measures, or refused; what is written again and again stays one file."""

from pathlib import Path

import pytest

from matrix.errors import UsageError
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
