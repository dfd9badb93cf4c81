"""records.jsonl: written a line as each cell ends."""

import os
from collections.abc import Iterable
from pathlib import Path

from reports.document import End, Process, Record, Report, RowRecord, Run
from reports.files import write_whole

Line = Run | Process | Record | RowRecord | End


class RecordWriter:
    """Appends lines, each of them whole: a crash loses nothing that was measured, nor does a disk that fills.

    Args:
        path: replaced by a file that holds `run` and the lines that came `earlier`, before anything is appended.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, run: Run, earlier: Iterable[Line] = ()) -> None:
        write_whole(path, b"".join(map(_packed, (run, *earlier))))
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)

    def write(self, line: Line) -> None:
        """Append one line, or nothing of it.

        Raises:
            OSError: the disk is full.
        """
        end, left = os.fstat(self._file).st_size, _packed(line)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            os.ftruncate(self._file, end)
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _packed(line: Line) -> bytes:
    return line.model_dump_json().encode("utf-8") + b"\n"


def write_lines(report: Report, folder: Path) -> None:
    """Write the `records.jsonl` that the report adds up from."""
    ended = End(finished=report.finished, problems=report.problems)
    lines: list[Line] = [*report.processes, *report.records, *report.rows, ended]
    RecordWriter(folder / "records.jsonl", report.run, lines).close()
