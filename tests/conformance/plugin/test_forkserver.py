"""Processes forked from one that has imported: they are what `python` would be, and nobody outlives the other."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.plugin import forkserver
from matrix.stack import Gpu
from tests.sessions import ROOT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks on Linux alone")
# Starts a server, runs each of its arguments as `-c`, and prints what came of each.
CONTROLLER = """
import json, subprocess, sys
from conformance.plugin.forkserver import launcher
python = launcher()
for code in sys.argv[1:]:
    answer = subprocess.run([*python, "-c", code, "given"], input="asked", capture_output=True, text=True)
    print(json.dumps([answer.returncode, answer.stdout, answer.stderr]))
"""


PATIENCE = 600.0  # seconds, where something would be wrong if they passed


def answers(*codes: str, preload: str = "colorsys", **environment: str) -> list[tuple[int, str, str]]:
    """Status, stdout and stderr of each code, run by processes of one server."""
    usual = {name: value for name, value in os.environ.items() if name not in forkserver._ALONE}
    given = {**usual, forkserver.PRELOAD: preload, **environment}
    given.pop(forkserver.SOCKET, None)
    command = [sys.executable, "-c", CONTROLLER, *map(textwrap.dedent, codes)]
    said = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return [tuple(json.loads(line)) for line in said.stdout.splitlines()]


def test_what_was_imported_there_is_here_and_streams_arguments_and_folder_are_ones_own() -> None:
    """`python -c` does not have colorsys."""
    code = """
    import os, sys
    print("colorsys" in sys.modules, sys.argv, sys.stdin.read(), os.getcwd(), os.environ.get("MINE"))
    print("aside", file=sys.stderr)
    """
    (found,) = answers(code, MINE="kept")
    assert found == (0, f"True ['-c', 'given'] asked {ROOT} kept\n", "aside\n")
    (found,) = answers(code, preload="", MINE="kept")
    assert found == (0, f"False ['-c', 'given'] asked {ROOT} kept\n", "aside\n")


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit", 0, ""),
        ("import os; os._exit(7)", 7, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
        ("import os; os.abort()", -signal.SIGABRT, ""),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("raise SystemExit('no such thing')", 1, "no such thing"),
        ("import atexit, sys; atexit.register(lambda: print('last', file=sys.stderr))", 0, "last"),
    ],
)
def test_it_ends_as_it_would_have_ended(code: str, status: int, said: str) -> None:
    ((found, _, stderr),) = answers(code)
    assert found == status
    assert said in stderr


def test_each_has_its_own_state_and_random_numbers() -> None:
    code = "import colorsys, random; print(getattr(colorsys, 'mine', None), random.random()); colorsys.mine = 1"
    first, second = (stdout.split() for _, stdout, _ in answers(code, code))
    assert (first[0], second[0]) == ("None", "None")
    assert first[1] != second[1]


def test_variables_that_hold_while_importing_hold_no_longer() -> None:
    code = f"import os; print([name for name in {list(forkserver._ALONE)} if name in os.environ])"
    ((_, stdout, _),) = answers(code)
    assert stdout == "[]\n"


@pytest.mark.parametrize(("own", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_that_wait_sleep_unless_somebody_says_otherwise(
    tmp_path: Path, own: dict[str, str], policy: str
) -> None:
    """What is read when a library is imported is told to the process that imports."""
    (tmp_path / "looking.py").write_text("import os; policy = os.environ['OMP_WAIT_POLICY']", encoding="utf-8")
    code = "import looking; print(looking.policy)"
    ((_, stdout, _),) = answers(code, preload="looking", PYTHONPATH=str(tmp_path), **own)
    assert stdout == f"{policy}\n"


@pytest.mark.parametrize("threads", ["1", "2"])
def test_what_torch_would_have_read_when_it_was_imported_is_told(threads: str) -> None:
    code = "import torch; print(torch.get_num_threads())"
    ((_, stdout, _),) = answers(code, preload="torch", OMP_NUM_THREADS=threads)
    assert stdout == f"{threads}\n"


@pytest.mark.parametrize(
    "module",
    [
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import os; os._exit(1)",
        "raise RuntimeError('no')",
    ],
)
def test_where_nothing_can_be_forked_processes_are_started(tmp_path: Path, module: str) -> None:
    """A library that starts threads, or takes the server down."""
    (tmp_path / "troublesome.py").write_text(module, encoding="utf-8")
    code = "import sys; print('troublesome' in sys.modules, 'colorsys' in sys.modules)"
    ((status, stdout, _),) = answers(code, preload="colorsys,troublesome", PYTHONPATH=str(tmp_path))
    assert (status, stdout) == (0, "False False\n")


def test_a_library_that_is_not_here_is_no_trouble() -> None:
    ((_, stdout, _),) = answers("import sys; print('colorsys' in sys.modules)", preload="no_such_module,colorsys")
    assert stdout == "True\n"


GPUS = (Gpu("NVIDIA H100 80GB HBM3", 81559, "9.0"), Gpu("NVIDIA A100", 40536, "8.0"))


def test_while_importing_torch_is_told_of_gpus_by_the_driver_and_after_it_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By functions that a module has kept, too; what was said meanwhile is not all that there is to say."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(forkserver, "visible_gpus", lambda: (GPUS, "580"))
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: f"torch knows of {device}")
    with forkserver._gpus_as_the_driver_says():
        kept = torch.cuda.get_device_properties
        assert torch.cuda.get_device_capability() == (9, 0)
        assert torch.cuda.get_device_capability("cuda:1") == (8, 0)
        assert torch.cuda.get_device_name(torch.device("cuda:1")) == GPUS[1].name
        assert (torch.cuda.current_device(), kept(1).total_memory) == (0, 40536 * 2**20)
        with pytest.raises(AttributeError):  # rather than a guess
            _ = kept(0).multi_processor_count
    assert kept(1) == torch.cuda.get_device_properties(1) == "torch knows of 1"


@pytest.mark.parametrize(
    ("is_loaded", "said"), [(False, (False, 0)), (True, ("asked", "asked"))], ids=["no driver", "nobody knows"]
)
def test_where_no_driver_is_loaded_cuda_is_not_asked_while_importing(
    is_loaded: bool, said: tuple[object, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(forkserver.os.path, "exists", lambda path: is_loaded)
    monkeypatch.setattr(forkserver, "visible_gpus", lambda: ((), ""))
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "asked")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: "asked")
    with forkserver._gpus_as_the_driver_says():
        assert (torch.cuda.is_available(), torch.cuda.device_count()) == said
    assert (torch.cuda.is_available(), torch.cuda.device_count()) == ("asked", "asked")


@pytest.mark.parametrize("asked", ["is_initialized", "_is_in_bad_fork"])
def test_nothing_is_forked_from_a_process_that_has_asked_for_a_gpu(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(forkserver.threading, "active_count", lambda: 1)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    for name in ("is_initialized", "_is_in_bad_fork"):  # whatever other tests of this process have asked
        monkeypatch.setattr(torch.cuda, name, lambda: False)
    assert forkserver.import_all([])
    monkeypatch.setattr(torch.cuda, asked, lambda: True)
    assert not forkserver.import_all([])


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A server of this process's; what to write in place of `python`."""
    for name in (forkserver.SOCKET, forkserver.SERVES):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv(forkserver.PRELOAD, "colorsys")
    ends = []
    monkeypatch.setattr(forkserver.atexit, "register", ends.append)
    yield forkserver.launcher()
    for end in ends:
        end()


def started(python: list[str]) -> tuple[subprocess.Popen[str], int]:
    """A process that says its number and then waits for ever."""
    code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    process = subprocess.Popen([*python, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def is_there(process: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def test_with_whom_it_stands_for_it_is_ended(own_server: list[str]) -> None:
    process, forked = started(own_server)
    assert forked != process.pid
    process.kill()
    assert process.communicate(timeout=PATIENCE) == ("", None)  # what it held open is closed
    while is_there(forked):  # until it is reaped
        time.sleep(0.01)


def test_whoever_waits_hears_of_its_end(own_server: list[str]) -> None:
    process, forked = started(own_server)
    os.kill(forked, signal.SIGKILL)
    assert process.wait(timeout=PATIENCE) == -signal.SIGKILL


def test_what_it_has_started_and_left_ends_with_it_and_nobody_waits_for_its_pipes(own_server: list[str]) -> None:
    code = "import os, signal; os.fork() or signal.pause(); os.kill(os.getpid(), signal.SIGKILL)"
    process = subprocess.Popen([*own_server, "-c", code], stdout=subprocess.PIPE)
    assert process.communicate(timeout=PATIENCE) == (b"", None)
    assert process.returncode == -signal.SIGKILL


def test_a_server_ends_with_whoever_started_it() -> None:
    ((_, stdout, _),) = answers("import os; print(os.getppid())")
    while is_there(int(stdout)):  # it hears that stdin is closed
        time.sleep(0.01)


def left_hanging(launcher: str, environment: dict[str, str]) -> int:
    """The process that a run has asked for, which hangs in C, where it hears of nothing. The run was killed."""
    hang = (
        "import collections, itertools, os; print(os.getpid(), flush=True); collections.deque(itertools.repeat(0), 0)"
    )
    run = f"""
    import subprocess
    from conformance.plugin.forkserver import launcher
    subprocess.run([*{launcher}, "-c", {hang!r}])
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(run)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    forked = int(process.stdout.readline())
    process.kill()
    process.wait(timeout=PATIENCE)
    return forked


def test_nothing_that_hangs_outlives_whoever_started_the_server() -> None:
    given = {**os.environ, forkserver.PRELOAD: "colorsys"}
    given.pop(forkserver.SOCKET, None)
    forked = left_hanging("launcher()", given)
    while is_there(forked):
        time.sleep(0.01)


def test_one_that_is_switched_off_does_not_serve_though_it_was_inherited(
    own_server: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert forkserver.launcher() == own_server
    monkeypatch.setenv(forkserver.PRELOAD, "")
    assert forkserver.launcher() == [sys.executable]


def test_one_of_another_python_does_not_serve(own_server: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It would measure other libraries."""
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert forkserver.launcher() != own_server


def test_a_folder_whose_name_is_too_long_for_a_socket_is_no_trouble(tmp_path: Path) -> None:
    long = tmp_path / ("a" * 100)
    long.mkdir()
    ((status, stdout, _),) = answers("import sys; print('colorsys' in sys.modules)", TMPDIR=str(long))
    assert (status, stdout) == (0, "False\n")
    assert list(long.iterdir()) == []


def test_with_the_server_everything_ends(own_server: list[str]) -> None:
    process, forked = started(own_server)
    parent = int(Path(f"/proc/{forked}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    assert process.wait(timeout=PATIENCE) == 1
    assert process.communicate(timeout=PATIENCE) == ("", None)


def test_whoever_asks_nothing_keeps_nobody_waiting(own_server: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(os.environ[forkserver.SOCKET])
        assert subprocess.run([*own_server, "-c", "raise SystemExit(3)"], timeout=PATIENCE, check=False).returncode == 3


GOOD = {"arguments": ["-u", "-c", "pass"], "environment": {"A": "b"}, "folder": "/"}


def asked(content: bytes) -> dict[str, object]:
    """What the server makes of it."""
    asking, heard = socket.socketpair()
    with asking, heard:
        asking.sendall(len(content).to_bytes(4, "little") + content)
        asking.shutdown(socket.SHUT_WR)
        return forkserver.question_of(heard, [])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"5",
        b"[" * 100_000,
        *(json.dumps({**GOOD, "arguments": wrong}).encode() for wrong in (5, [5], [], ["-c"], ["-u", "x"])),
        *(json.dumps({**GOOD, "environment": wrong}).encode() for wrong in ([], {"A": 5}, None)),
        json.dumps({**GOOD, "folder": 5}).encode(),
    ],
)
def test_what_is_no_question_is_not_asked_of_a_fork(content: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        asked(content)
    assert asked(json.dumps(GOOD).encode()) == GOOD
