"""Where a command writes is made before it measures, or refused."""

from pathlib import Path

import pytest

from matrix.errors import UsageError
from reports.files import make_room_for


def test_the_folder_of_a_file_is_made_or_refused(tmp_path: Path) -> None:
    make_room_for(tmp_path / "new" / "folder" / "x.json")
    assert (tmp_path / "new" / "folder").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file: cannot be written to: File exists"):
        make_room_for(tmp_path / "file" / "x.json")
