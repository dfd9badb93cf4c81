"""A server that stays: another run is served by it, but for where something has changed that it would import."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.plugin import forkserver, kept
from tests.conformance.plugin.test_forkserver import PATIENCE, is_there
from tests.sessions import ROOT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks on Linux alone")
# A run: has a server that stays, and prints from which process its worker was forked, and what that had imported.
RUN = """
import subprocess, sys
from conformance.plugin.forkserver import launcher
code = "import os, sys; print(os.getppid(), getattr(sys.modules.get('mine'), 'version', None))"
print(subprocess.run([*launcher(5.0), "-c", code], capture_output=True, text=True, check=True).stdout, end="")
"""


class Place:
    """Folders and an environment of its own for servers that stay."""

    def __init__(self, folder: Path) -> None:
        self.temporary, self.library = folder / "t", folder / "library"
        for made in (self.temporary, self.library):
            made.mkdir()
        self.module = self.library / "mine.py"
        self.module.write_text("version = 1", encoding="utf-8")
        own = {"TMPDIR": str(self.temporary), "PYTHONPATH": str(self.library), forkserver.PRELOAD: "colorsys,mine"}
        self.environment = {**os.environ, **own}
        self.environment.pop(forkserver.SOCKET, None)
        self.seen = set[int]()

    def run(self, **environment: str) -> tuple[int, str]:
        """The server that served a run, and what it had imported."""
        given = {**self.environment, **environment}
        said = subprocess.run(
            [sys.executable, "-c", RUN], cwd=ROOT, env=given, capture_output=True, text=True, check=True
        )
        server, version = said.stdout.split()
        self.seen.add(int(server))
        return int(server), version

    @property
    def notes(self) -> list[Path]:
        """What servers have noted down."""
        return sorted(self.temporary.glob(f"conformance-{os.getuid()}/*.json"))


@pytest.fixture
def place(short_folder: Path) -> Iterator[Place]:
    here = Place(short_folder)
    yield here
    for server in here.seen:
        if is_there(server):
            os.kill(server, signal.SIGKILL)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """The path of a socket has a hundred characters, of which pytest's own folder may leave none."""
    with tempfile.TemporaryDirectory(prefix="kept-", dir="/tmp") as folder:
        yield Path(folder)


def test_the_next_run_is_served_by_what_an_earlier_one_has_imported(place: Place) -> None:
    first, version = place.run()
    assert version == "1"
    assert place.run(OLDPWD="/elsewhere", CONFORMANCE_X="1") == (first, "1")
    (note,) = place.notes
    assert note.parent.stat().st_mode & 0o777 == 0o700


def test_what_was_replaced_since_or_came_into_a_folder_of_libraries_is_imported_anew(place: Place) -> None:
    first, _ = place.run()
    place.module.write_text("version = 22", encoding="utf-8")
    second, version = place.run()
    assert version == "22"
    assert second != first
    (place.library / "another.py").touch()  # a library that was not there: what was imported may have asked for it
    third, version = place.run()
    assert version == "22"
    assert third not in (first, second)
    assert place.run()[0] == third


def test_of_a_package_that_is_worked_on_every_module_counts_and_what_a_run_makes_does_not(place: Place) -> None:
    """What is imported may have read those that are not, as transformers reads its models."""
    package = place.library / "mine"
    place.module.unlink()
    (package / "models" / "other").mkdir(parents=True)
    (package / "__init__.py").write_text("version = 1", encoding="utf-8")
    (package / "models" / "__init__.py").touch()
    other = package / "models" / "other" / "modeling.py"
    other.write_text("__all__ = []", encoding="utf-8")
    first, _ = place.run()
    (package / "models" / "__pycache__").mkdir()
    (place.library / ".cache").mkdir()
    reports = package / "out"  # a folder that holds no module
    reports.mkdir()
    second, _ = place.run()
    assert second != first  # it may have been one
    (reports / "run").mkdir()
    (reports / "run" / "sitecustomize.py").touch()
    assert place.run()[0] == second
    other.write_text("__all__ = ['new']", encoding="utf-8")
    third, _ = place.run()
    assert third not in (first, second)
    (package / "models" / "new").mkdir()
    fourth, _ = place.run()
    assert fourth not in (first, second, third)


@pytest.mark.parametrize(
    "change", [{"TRANSFORMERS_VERBOSITY": "error"}, {"CUDA_VISIBLE_DEVICES": ""}, {forkserver.PRELOAD: "mine"}]
)
def test_another_environment_has_another_server(place: Place, change: dict[str, str]) -> None:
    first, _ = place.run()
    assert place.run(**change)[0] != first
    assert place.run()[0] == first


def test_where_a_process_is_and_what_it_may_do_tell_servers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked process has them from its server, not from whoever asks for it."""
    usual = kept._digest("colorsys")
    assert kept._digest("colorsys") == usual
    assert kept._digest("mine") != usual
    for module, name, said in (
        (os, "sched_getaffinity", {0, 77}),
        (os, "getpriority", 19),
        (kept.resource, "getrlimit", (1, 1)),
        (os, "readlink", "mnt:[1]"),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(module, name, lambda *_, said=said: said)
            assert kept._digest("colorsys") != usual, name
    before = os.umask(0o123)
    try:
        assert kept._digest("colorsys") != usual
    finally:
        os.umask(before)


def test_one_that_died_is_replaced(place: Place) -> None:
    first, _ = place.run()
    os.kill(first, signal.SIGKILL)
    while is_there(first):
        time.sleep(0.01)
    second, version = place.run()
    assert version == "1"
    assert place.run() == (second, "1")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"socket": 5, "seen": {}}', '{"socket": "/no", "seen": []}'])
def test_a_note_that_is_none_is_written_anew(place: Place, content: str) -> None:
    first, _ = place.run()
    (note,) = place.notes
    note.write_text(content, encoding="utf-8")
    second, _ = place.run()
    assert second != first
    assert place.run()[0] == second


@pytest.mark.parametrize("shared", ["writable", "a file", "a link"])
def test_nothing_is_noted_down_where_others_could_write(place: Place, shared: str) -> None:
    """The server ends with the run then, as ever."""
    folder = place.temporary / f"conformance-{os.getuid()}"
    if shared == "a file":
        folder.touch()
    elif shared == "a link":
        (place.temporary / "behind").mkdir(mode=0o700)
        folder.symlink_to(place.temporary / "behind")
    else:
        folder.mkdir()
        folder.chmod(0o770)
    server, version = place.run()
    assert version == "1"
    assert place.notes == []
    while is_there(server):
        time.sleep(0.01)


def test_nothing_is_noted_down_in_a_folder_that_is_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept.tempfile, "gettempdir", lambda: str(tmp_path))
    assert kept.note_for("colorsys") is not None
    other = os.getuid() + 1
    monkeypatch.setattr(kept.os, "getuid", lambda: other)
    assert kept.note_for("colorsys") is None


def test_one_from_which_nothing_may_be_forked_does_not_stay(place: Place) -> None:
    thread = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    place.module.write_text(thread, encoding="utf-8")
    assert place.run()[1] == "None"  # a Python of its own
    assert place.notes == []


def served(folder: Path, minutes: float) -> tuple[subprocess.Popen[bytes], Path]:
    """A server by itself, and its socket."""
    path = folder / "made" / "fork"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        command = [sys.executable, "-m", "conformance.plugin.forkserver", str(listener.fileno()), "colorsys"]
        command += [str(folder / "note.json"), str(minutes)]
        return subprocess.Popen(command, cwd=ROOT, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL), path


def test_it_ends_when_nobody_has_asked_for_so_long(short_folder: Path) -> None:
    server, path = served(short_folder, 0.001)
    assert server.wait(timeout=PATIENCE) == 0
    assert not path.parent.exists()
    assert json.loads((short_folder / "note.json").read_text(encoding="utf-8"))["socket"] == str(path)


def test_it_ends_when_its_socket_is_gone(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does one that was replaced because something has changed."""
    look = "import sys; from conformance.plugin import forkserver as f; f._LOOK = 0.01; sys.argv[0] = ''; f.main()"
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: real([command[0], "-c", look, *command[3:]], **how))
    server, path = served(short_folder, 60.0)
    note = short_folder / "note.json"
    while not note.exists():
        time.sleep(0.01)
    assert kept.serving(note) == str(path)
    seen = json.loads(note.read_text(encoding="utf-8"))
    note.write_text(json.dumps({**seen, "seen": {**seen["seen"], str(ROOT / "README.md"): [0, 0, 0, 0]}}))
    assert kept.serving(note) is None
    assert server.wait(timeout=PATIENCE) == 0


def test_what_hangs_in_a_fork_of_it_ends_with_the_run_that_asked(place: Place) -> None:
    """The server goes on, and nobody tells it of the end of a run but whoever stood for its worker."""
    hang = (
        "import collections, itertools, os; print(os.getpid(), flush=True); collections.deque(itertools.repeat(0), 0)"
    )
    run = f"""
    import subprocess
    from conformance.plugin.forkserver import launcher
    subprocess.run([*launcher(5.0), "-c", {hang!r}])
    """
    server, _ = place.run()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(run)],
        cwd=ROOT,
        env=place.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    forked = int(process.stdout.readline())
    process.kill()
    process.wait(timeout=PATIENCE)
    while is_there(forked):
        time.sleep(0.01)
    assert place.run()[0] == server
