"""records.jsonl: written a line as each cell ends."""

from pathlib import Path

from reports.document import End, Process, Record, Report, RowRecord, Run


class RecordWriter:
    """Appends lines, each flushed, so that a crash loses nothing that was measured."""

    def __init__(self, path: Path, run: Run) -> None:
        self._file = path.open("w", encoding="utf-8")
        self.write(run)

    def write(self, line: Run | Process | Record | RowRecord | End) -> None:
        """Append one line."""
        self._file.write(line.model_dump_json() + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_lines(report: Report, folder: Path) -> None:
    """Write the `records.jsonl` that the report adds up from."""
    writer = RecordWriter(folder / "records.jsonl", report.run)
    for lines in (report.processes, report.records, report.rows):
        for line in lines:
            writer.write(line)
    writer.write(End(finished=report.finished, problems=report.problems))
    writer.close()
