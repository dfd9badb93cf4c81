"""The driver's side of a block: its lines are kept as they come, and what is left of it is known."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from matrix.errors import UsageError
from reports.document import CUT_OFF, End, Process, Record, RowRecord, Run, Sharded
from reports.records import RecordWriter

_LINE: TypeAdapter[Run | Process | Record | RowRecord | End] = TypeAdapter(
    Annotated[Run | Process | Record | RowRecord | End, Field(discriminator="kind")]
)


class Gathered:
    """What came of a block so far; on disk it is the report of a shard, so that `reports merge` can join it.

    Args:
        folder: where its records.jsonl goes.
        names: its tests.
        shard: as which part of which plan its report counts.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], shard: Sharded) -> None:
        self.folder = folder
        self.names = names
        self.run: Run | None = None
        self.ended = False
        self.cut_off = ""  # why it ended before its end
        self._left = dict.fromkeys(names)
        self._shard = shard
        self._writer: RecordWriter | None = None
        self._processes: dict[str, Process] = {}

    @property
    def left(self) -> tuple[str, ...]:
        """The tests of which nothing has come yet."""
        return tuple(self._left)

    def take(self, text: str) -> int:
        """Keep some lines, and say how many tests have ended with them.

        Raises:
            UsageError: a line that is none of a report's, as from another release of the suite.
        """
        before = len(self._left)
        for text_of_line in text.split("\n"):
            try:
                self._keep(_LINE.validate_json(text_of_line))
            except ValueError as error:
                raise UsageError(f"a node sent what is no line of a report: {str(error).splitlines()[0]}") from None
        return before - len(self._left)

    def _keep(self, line: Run | Process | Record | RowRecord | End) -> None:
        if isinstance(line, Run):
            self.run = line.model_copy(update={"shard": self._shard})
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer = RecordWriter(self.folder / "records.jsonl", self.run)
            return
        if isinstance(line, Record):
            self._left.pop(line.cell, None)
        elif isinstance(line, RowRecord):
            self._left.pop(line.key, None)
        elif isinstance(line, Process):
            self._processes[line.worker] = line
        else:
            self.cut_off = next((problem for problem in line.problems if problem.startswith(CUT_OFF)), "")
            if self.cut_off:  # and may go on elsewhere
                return
            self.ended = True
            # What it says of waivers and of cells that did not run, only the whole can say.
            line = line.model_copy(update={"problems": []})
        if self._writer is not None:
            self._writer.write(line)

    def close(self) -> None:
        """Nothing more will come; of a node that is gone, its processes died, and its report ends here."""
        if self._writer is None:
            return
        if not self.ended and self.run is not None:
            now = datetime.now(UTC)
            seconds = (now - (self.run.launched or self.run.started)).total_seconds()
            for process in self._processes.values():
                died = max(process.began, round(seconds, 3))
                self._writer.write(process.model_copy(update={"died": died}))
            self._writer.write(End(finished=now))
        self._writer.close()
        self._writer = None
