"""A server that stays: another run is served by it, but for where something has changed that it would import."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.plugin import forkserver, kept
from tests.conformance.plugin.test_forkserver import PATIENCE, is_there, left_hanging
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

    def settle(self) -> None:
        """Let everything be older than what is imported from now on."""
        now = time.time()
        while time.time() < now + 0.05:
            pass

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


def test_a_run_of_the_suite_leaves_one_and_the_next_is_served_by_it(place: Place, cache: Path) -> None:
    def run(*more: str) -> None:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--cell=llama-float32-sdpa-prefill"]
        command += [f"--report-dir={place.temporary / 'out'}", f"--fixture-cache={cache}", *more]
        subprocess.run(command, cwd=ROOT, env=place.environment, capture_output=True, check=True, timeout=PATIENCE)

    run()
    assert place.notes == []
    run("--keep-warm=5")
    (note,) = place.notes
    servers = [
        int(said.parent.name)
        for said in Path("/proc").glob("[0-9]*/cmdline")
        if str(note).encode() in said.read_bytes().split(b"\0")
    ]
    place.seen.update(servers)
    assert len(servers) == 1
    before = note.stat().st_mtime_ns, note.read_bytes()
    run("--keep-warm=5")
    assert (note.stat().st_mtime_ns, note.read_bytes()) == before


def test_what_was_replaced_since_or_came_into_a_folder_of_libraries_is_imported_anew(place: Place) -> None:
    first, _ = place.run()
    place.module.write_text("version = 22", encoding="utf-8")
    place.settle()
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
    other = package(place.library / "mine", "models", "other") / "modeling.py"
    other.write_text("__all__ = []", encoding="utf-8")
    place.settle()
    first, _ = place.run()
    (place.library / "mine" / "models" / "__pycache__").mkdir()
    (place.library / ".cache").mkdir()
    (place.library / "mine" / "out" / "run").mkdir()
    assert place.run()[0] == first
    other.write_text("__all__ = ['new']", encoding="utf-8")
    place.settle()
    second, _ = place.run()
    assert second != first
    (place.library / "mine" / "models" / "new").mkdir()
    assert place.run()[0] not in (first, second)


def package(folder: Path, *below: str) -> Path:
    """A package with packages in it, and a folder that holds no module; the innermost of them."""
    (folder / "out").mkdir(parents=True)
    for name in ("", *below):
        folder = folder / name
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text("version = 1", encoding="utf-8")
    return folder


def test_a_package_within_none_counts_as_well_and_so_does_one_that_could_not_be_imported(place: Place) -> None:
    place.environment[forkserver.PRELOAD] = "colorsys,space.inner,optional,mine"
    other = package(place.library / "space" / "inner", "models") / "modeling.py"
    other.touch()
    broken = package(place.library / "optional") / "__init__.py"
    broken.write_text("raise ImportError", encoding="utf-8")
    place.settle()
    first, _ = place.run()
    assert place.run()[0] == first
    other.write_text("changed = True", encoding="utf-8")
    place.settle()
    second, _ = place.run()
    assert second != first
    broken.write_text("mended = True", encoding="utf-8")
    place.settle()
    assert place.run()[0] not in (first, second)


def test_what_says_where_modules_are_or_what_is_installed_counts_by_its_content(place: Place) -> None:
    """An editable installation of another checkout has a file of the same name."""
    (place.library / "editable.pth").write_text("/somewhere", encoding="utf-8")
    metadata = place.library / "thing-1.0.dist-info"
    metadata.mkdir()
    (metadata / "RECORD").touch()
    place.settle()
    first, _ = place.run()
    (place.library / "editable.pth").write_text("/elsewhere", encoding="utf-8")
    place.settle()
    second, _ = place.run()
    assert second != first
    shutil.rmtree(metadata)  # the same release, installed anew
    metadata.mkdir()
    (metadata / "RECORD").touch()
    place.settle()
    assert place.run()[0] not in (first, second)


def test_what_changes_while_it_is_imported_is_not_taken_for_what_was_read(place: Place) -> None:
    itself = "import pathlib; version = 1; pathlib.Path(__file__).write_text('version = 22')"
    place.module.write_text(itself, encoding="utf-8")
    place.settle()
    assert place.run()[1] == "1"
    assert place.notes == []
    place.settle()
    assert place.run()[1] == "22"


@pytest.mark.parametrize(
    "change", [{"TRANSFORMERS_VERBOSITY": "error"}, {"CUDA_VISIBLE_DEVICES": ""}, {forkserver.PRELOAD: "mine"}]
)
def test_another_environment_has_another_server(place: Place, change: dict[str, str]) -> None:
    first, _ = place.run()
    assert place.run(**change)[0] != first
    assert place.run()[0] == first


def test_where_a_process_is_and_what_it_may_do_tell_servers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked process has them from its server, not from whoever asks for it."""
    usual = kept._digest("colorsys", 5.0)
    assert kept._digest("colorsys", 5.0) == usual
    assert kept._digest("mine", 5.0) != usual
    assert kept._digest("colorsys", 6.0) != usual
    for module, name, said in (
        (os, "sched_getaffinity", {0, 77}),
        (os, "getpriority", 19),
        (os, "sched_getscheduler", 3),
        (kept.resource, "getrlimit", (1, 1)),
        (os, "readlink", "mnt:[1]"),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(module, name, lambda *_, said=said: said)
            assert kept._digest("colorsys", 5.0) != usual, name
    before = os.umask(0o123)
    try:
        assert kept._digest("colorsys", 5.0) != usual
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
    assert kept.note_for("colorsys", 5.0) is not None
    other = os.getuid() + 1
    monkeypatch.setattr(kept.os, "getuid", lambda: other)
    assert kept.note_for("colorsys", 5.0) is None


def test_one_from_which_nothing_may_be_forked_does_not_stay(place: Place) -> None:
    thread = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    place.module.write_text(thread, encoding="utf-8")
    assert place.run()[1] == "None"  # a Python of its own
    assert place.notes == []


def served(folder: Path, minutes: float, modules: str = "colorsys") -> tuple[subprocess.Popen[bytes], Path]:
    """A server by itself, and its socket."""
    path = folder / "made" / "fork"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        command = [sys.executable, "-m", "conformance.plugin.forkserver", str(listener.fileno()), modules]
        command += [str(folder / "note.json"), str(minutes)]
        return subprocess.Popen(command, cwd=ROOT, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL), path


def test_it_ends_when_nobody_has_asked_for_so_long(short_folder: Path) -> None:
    server, path = served(short_folder, 0.001)
    assert server.wait(timeout=PATIENCE) == 0
    assert not path.parent.exists()
    assert not (short_folder / "note.json").exists()


def test_one_that_cannot_import_leaves_nothing_behind(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (short_folder / "broken.py").write_text("raise RuntimeError", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(short_folder))
    server, path = served(short_folder, 60.0, "broken")
    assert server.wait(timeout=PATIENCE) != 0
    assert not path.parent.exists()


def test_without_a_place_for_temporary_files_none_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(kept.tempfile, "gettempdir", nowhere)
    assert kept.note_for("colorsys", 5.0) is None


@pytest.mark.parametrize("instead", ["another", "none"])
def test_it_ends_when_another_has_taken_its_place(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch, instead: str
) -> None:
    """As where two runs start at once, or something has changed."""
    look = "import sys; from conformance.plugin import forkserver as f; f._LOOK = 0.01; sys.argv[0] = ''; f.main()"
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: real([command[0], "-c", look, *command[3:]], **how))
    server, path = served(short_folder, 60.0)
    note = short_folder / "note.json"
    while not note.exists():
        time.sleep(0.01)
    assert kept.serving(note) == str(path)
    seen = json.loads(note.read_text(encoding="utf-8"))
    if instead == "another":
        note.write_text(json.dumps({**seen, "socket": "/another"}), encoding="utf-8")
    else:
        seen["seen"][str(ROOT / "README.md")] = [0, 0, 0, 0]
        note.write_text(json.dumps(seen), encoding="utf-8")
        assert kept.serving(note) is None
    assert server.wait(timeout=PATIENCE) == 0
    assert not path.exists()
    assert note.exists() is (instead == "another")


def test_what_hangs_in_a_fork_of_it_ends_with_the_run_that_asked(place: Place) -> None:
    """The server goes on, and nobody tells it of the end of a run but whoever stood for its worker."""
    server, _ = place.run()
    forked = left_hanging("launcher(5.0)", place.environment)
    while is_there(forked):
        time.sleep(0.01)
    assert place.run()[0] == server
