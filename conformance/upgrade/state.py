"""The folder of an upgrade: whose it is, and that only one command works there."""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matrix.errors import UsageError
from matrix.files import read_json
from reports.files import write_whole

_FILE = "upgrade.json"
_COMMAND = "command"  # the fact that says whose folder it is


class Workplace:
    """A folder that keeps what an upgrade has built and measured, so that the same command goes on.

    Other commands are kept out of it as long as this process lives.

    Args:
        folder: made if it is not there.

    Raises:
        UsageError: it cannot be written to, or another command works there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"--report-dir {folder}: another command works there; name another folder") from None
        except OSError as error:
            raise UsageError(f"--report-dir {folder}: cannot be written to: {error.strerror}") from None

    def claim(self, facts: Mapping[str, str], *, measured: bool) -> None:
        """Begin there, or go on with what was begun.

        Args:
            facts: what must be the same for what was measured there to count; one that was not kept is another. Among
                them `command`, which must be the same even where nothing was measured yet.
            measured: whether anything was.

        Raises:
            UsageError: something else was begun there, or nobody knows what.
        """
        begun = (self.folder / _FILE).is_file()
        before = self.known() if measured or begun else {}
        for name in facts if measured else (_COMMAND,) if begun else ():
            was, is_now = before.get(name), facts[name]
            if was != is_now:
                what = f"{name} was {was or 'nothing'}, is {is_now or 'nothing'}"
                remedy = "remove it, or name another --report-dir"
                raise UsageError(f"{self.folder} holds something else: {what}; {remedy}")
        if not measured:
            self.write(_FILE, json.dumps(facts, indent=1) + "\n")

    def known(self) -> dict[str, Any]:
        """What was kept."""
        found = read_json(self.folder / _FILE)
        return found if isinstance(found, dict) else {}

    def keep(self, facts: Mapping[str, Any]) -> None:
        """Keep these beside what is kept.

        Raises:
            UsageError: the folder cannot be written to.
        """
        before = self.known() if (self.folder / _FILE).is_file() else {}
        self.write(_FILE, json.dumps({**before, **facts}, indent=1) + "\n")

    def write(self, name: str, content: str) -> None:
        """Write a file there.

        Raises:
            UsageError: it cannot be.
        """
        try:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / name, content)
        except OSError as error:
            raise UsageError(f"{self.folder / name}: cannot be written to: {error.strerror}") from None

    def close(self) -> None:
        """Let others in."""
        os.close(self._lock)
