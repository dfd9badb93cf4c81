"""Processes that are ready at once: forked from one that has imported torch and transformers, and done nothing else.

The imports are most of what a worker of a short run does. They are made once, in a process of their own, while the run
is planned; each worker, each that replaces a dead one, and each in which a cell is measured again alone is forked from
it. It never asks for a GPU: what is forked from a process with a CUDA context can't use one. Where that cannot be had
(no Linux, a library that asks for a GPU when it is imported, or one that starts threads of Python) processes are
started as ever.
"""

import atexit
import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from conformance.plugin import kept
from conformance.plugin.launch import STATUS, YES
from matrix.stack import Gpu, visible_gpus

ROOT = Path(__file__).parent.parent.parent
SOCKET = "CONFORMANCE_FORKSERVER"  # the variable with the socket of this process's server, or of one that started it
SERVES = "CONFORMANCE_FORKSERVER_OF"  # which Python, with which folders of libraries, that server is of
PRELOAD = "CONFORMANCE_PRELOAD"  # modules to import instead of MODULES, separated by commas; none: no server

# What the cells of any plan need, in the order in which they would import it.
MODULES = (
    "torch",
    "conformance.bench",
    "conformance.faults",
    "conformance.plugin.measuring",
    "transformers.generation.utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.masking_utils",
    "transformers.modeling_layers",
    "torch.nn.attention.flex_attention",
)
_PATIENCE = 5.0  # seconds, with somebody who asks and does not say what for
_LOOK = 30.0  # seconds between two looks of one that stays whether anybody still needs it
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)
# One thread while importing: a pool of threads, or of compiling processes, would be lost in what is forked.
_ALONE = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # asks the driver's library whether there is a GPU, not for the GPU itself
}
# Threads that wait for each other sleep, unless somebody says otherwise: those that spin take each other's core where
# anything else keeps one busy, and what takes 10 seconds on two idle cores took 100 on one of them.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}


def launcher(minutes: float = 0.0) -> list[str]:
    """What to write in place of `python`: of this process's server, which is started if there is none.

    With minutes it is one that stays until nobody has asked for so long, for other runs like this one (`kept`).
    One that was inherited serves if it is of the same Python, which looks for libraries in the same places.
    """
    wanted = os.environ.get(PRELOAD) != ""
    if wanted and (not os.environ.get(SOCKET) or os.environ.get(SERVES) != _serves()):
        start(minutes)
    path = os.environ.get(SOCKET) if wanted and os.environ.get(SERVES) == _serves() else None
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")), path] if path else [sys.executable]


def _serves() -> str:
    """Which Python this is, and where it looks for libraries."""
    return f"{sys.executable} {os.environ.get('PYTHONPATH', '')}"


def start(minutes: float = 0.0) -> None:
    """Start a server that ends with this process, or stays. It imports while this process goes on."""
    modules = os.environ.get(PRELOAD, ",".join(MODULES))
    if not modules or not sys.platform.startswith("linux"):
        return
    note = kept.note_for(modules, minutes) if minutes else None
    if note is not None and (path := kept.serving(note)) is not None:
        os.environ[SOCKET], os.environ[SERVES] = path, _serves()
        return
    try:
        folder = tempfile.mkdtemp(prefix="conformance-")
    except OSError:  # there is no place for temporary files, as a library may have left it
        return
    path = f"{folder}/fork"
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(path)
    except OSError:  # longer than a socket's path may be
        os.rmdir(folder)
        return
    listener.listen(512)
    command = [sys.executable, "-m", "conformance.plugin.forkserver", str(listener.fileno()), modules]
    command += [str(note), str(minutes)] if note is not None else []
    # What it prints is noise of the libraries; what is forked has streams of its own.
    server = subprocess.Popen(
        command,
        stdin=subprocess.PIPE if note is None else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[listener.fileno()],
        cwd=ROOT,
        env={**WAITING, **os.environ, **_ALONE},
        start_new_session=True,  # what the terminal says is for the others
    )
    listener.close()
    os.environ[SOCKET], os.environ[SERVES] = path, _serves()
    if note is not None:
        server.returncode = 0  # it is for others: nobody here waits for it
        return

    def end() -> None:
        os.environ.pop(SOCKET, None)
        with contextlib.suppress(OSError):
            server.stdin.close()  # type: ignore[union-attr]
        _remove(path)

    atexit.register(end)


def _remove(path: str) -> None:
    """The socket, and the folder that was made for it."""
    with contextlib.suppress(OSError):
        os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(path))


def take_threads(computing: int, compiling: int) -> None:
    """Say what torch reads from variables when it is imported to one that was imported before."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(computing)
    if (inductor := sys.modules.get("torch._inductor.config")) is not None:
        inductor.compile_threads = compiling


def serve(listener: socket.socket, modules: list[str], note: Path | None = None, minutes: float = 0.0) -> None:
    """Import, then fork for whoever asks until stdin closes, and with it ends all that was forked.

    With a note it writes that instead, and ends when nobody has asked for so many minutes, or another has taken its
    place there, and all that was forked has ended.
    """
    looked = kept.Looked()
    safe = import_all(modules)
    path = listener.getsockname()
    if note is not None:
        if not safe:
            return
        looked.write(note, path)
    for name in _ALONE:
        os.environ.pop(name, None)
    ended, wake = socket.socketpair()
    for end in (ended, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    children: dict[int, socket.socket] = {}  # process -> who asked for it
    ours = [listener, ended, wake]
    with selectors.DefaultSelector() as waiting:
        for source in (listener, ended, *([0] if note is None else [])):
            waiting.register(source, selectors.EVENT_READ)
        ending, until = False, time.monotonic() + 60 * minutes
        while not ending or children:
            ready = waiting.select(None if note is None else min(_LOOK, 60 * minutes))
            if ready or children:
                until = time.monotonic() + 60 * minutes
            elif note is not None and (time.monotonic() > until or not kept.is_of(note, path)):
                return
            for key, _ in ready:
                if key.fileobj is listener:
                    asking, _ = listener.accept()
                    child = _forked(asking, [*ours, *children.values()]) if safe else None
                    if child is None:
                        asking.close()
                        continue
                    children[child] = asking
                    waiting.register(asking, selectors.EVENT_READ, data=child)
                elif key.fileobj is ended:
                    with contextlib.suppress(BlockingIOError):
                        ended.recv(4096)
                    for child, status in _gone():
                        if (of := children.pop(child, None)) is not None:
                            _end(child)
                            _tell(of, status)
                            if of in waiting.get_map():
                                waiting.unregister(of)
                            of.close()
                elif key.fileobj == 0:
                    ending = True
                    for child in children:  # nobody is left to hear of them, nor to end one that hangs
                        _end(child)
                    waiting.unregister(0)
                    waiting.unregister(listener)
                    listener.close()
                elif key.data in children:  # whoever asked is gone, and with it goes what it stood for
                    _end(key.data)
                    waiting.unregister(key.fileobj)


def _gone() -> Iterator[tuple[int, int]]:
    """The processes that have ended since, and how."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found


def _end(child: int) -> None:
    """End a process and what it has started, which holds its pipes open: whoever reads those waits for their end."""
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)


def _tell(asking: socket.socket, status: int) -> None:
    with contextlib.suppress(OSError):
        asking.sendall(status.to_bytes(STATUS, "little"))


def import_all(modules: Sequence[str]) -> bool:
    """Import these, as far as they are here. Whether what is forked now can do everything."""
    with _gpus_as_the_driver_says() if "torch" in modules else contextlib.nullcontext():
        for name in modules:
            with contextlib.suppress(ImportError):
                import_module(name)
    torch = sys.modules.get("torch")
    if threading.active_count() > 1:
        return False
    if torch is None or not torch.backends.cuda.is_built():
        return True
    child = os.fork()
    if child == 0:
        os._exit(int(torch.cuda.is_initialized() or torch.cuda._is_in_bad_fork()))
    return os.waitpid(child, 0)[1] == 0


class _Gpu:
    """What a library may want to know of a GPU when it is imported: which one it is, not what it can do now."""

    def __init__(self, gpu: Gpu) -> None:
        major, _, minor = gpu.capability.partition(".")
        self.name, self.total_memory = gpu.name, gpu.memory_mib * 2**20
        self.major, self.minor = int(major), int(minor)


@contextlib.contextmanager
def _gpus_as_the_driver_says() -> Iterator[None]:
    """While entered what torch is asked about GPUs is answered without one.

    torchao asks for their capability when it is imported, and transformers imports torchao: torch would make a context,
    and nothing that is forked could have one of its own. Where no driver is loaded torch asks CUDA whether there is a
    GPU, which counts as a context.
    """
    gpus = list[Gpu]()
    looking = threading.Thread(target=lambda: gpus.extend(visible_gpus()[0]))
    looking.start()
    torch = import_module("torch")
    looking.join()
    if not torch.backends.cuda.is_built() or not (gpus or _has_no_driver()):
        yield
        return
    importing = True

    def until_imported(said: Callable[..., Any], usual: Callable[..., Any]) -> Callable[..., Any]:
        # Modules keep the function that they saw, and call it later on as well.
        return lambda *device, **named: (said if importing else usual)(*device, **named)

    answers = _answers(torch.device, [_Gpu(gpu) for gpu in gpus])
    usual = {name: getattr(torch.cuda, name) for name in answers}
    for name, said in answers.items():
        setattr(torch.cuda, name, until_imported(said, usual[name]))
    try:
        yield
    finally:
        importing = False
        for name, known_by_torch in usual.items():
            setattr(torch.cuda, name, known_by_torch)
        if (interface := sys.modules.get("torch._dynamo.device_interface")) is not None:
            interface.caching_worker_device_properties.clear()  # what was said here is not all that there is to say


def _has_no_driver() -> bool:
    """Whether there can be no GPU: of NVIDIA, of AMD, or Windows' own."""
    return not any(map(os.path.exists, ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")))


def _answers(device_of: Callable[[str], Any], gpus: Sequence[_Gpu]) -> dict[str, Callable[..., Any]]:
    """What the functions of torch.cuda say of them."""
    if not gpus:
        return {"is_available": lambda: False, "device_count": lambda: 0}

    def properties(device: Any = None) -> _Gpu:
        place = device_of(device).index if isinstance(device, str) else getattr(device, "index", device)
        return gpus[place or 0]

    def capability(device: Any = None) -> tuple[int, int]:
        return properties(device).major, properties(device).minor

    return {
        "current_device": lambda: 0,
        "get_device_properties": properties,
        "get_device_capability": capability,
        "get_device_name": lambda device=None: properties(device).name,
    }


def question_of(asking: socket.socket, descriptors: list[int]) -> dict[str, Any]:
    """What is asked for: arguments, environment and folder. The streams that come with it are added to `descriptors`.

    Raises:
        OSError, ValueError, RecursionError: what comes is no question.
    """
    said, streams, _, _ = socket.recv_fds(asking, 4, 3)
    descriptors += streams
    length, question = int.from_bytes(said, "little"), b""
    while len(question) < length and (heard := asking.recv(min(length - len(question), 2**20))):
        question += heard
    told: dict[str, Any] = json.loads(question)
    if not isinstance(told, dict):
        raise ValueError("no question")
    arguments, environment = told.get("arguments"), told.get("environment")
    if not isinstance(arguments, list) or not isinstance(environment, dict) or not isinstance(told.get("folder"), str):
        raise ValueError("no question")
    if not all(isinstance(text, str) for text in (*arguments, *environment.values())) or "-c" not in arguments[:-1]:
        raise ValueError("no question")
    return told


def _forked(asking: socket.socket, ours: list[socket.socket]) -> int | None:
    """The process that does what is asked for, or None if what came is no question."""
    descriptors: list[int] = []
    try:
        asking.settimeout(_PATIENCE)
        told = question_of(asking, descriptors)
        asking.sendall(YES)
    except (OSError, ValueError, RecursionError):
        for descriptor in descriptors:  # whoever reads the other end of one waits for it to be closed
            os.close(descriptor)
        return None
    child = os.fork()
    with contextlib.suppress(OSError):
        os.setpgid(child, child)  # on both sides, whichever is first
    if child:
        for descriptor in descriptors:
            os.close(descriptor)
        return child
    status = 1
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # without the server nobody would end it
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in (*ours, asking):
            one.close()
        status = _run(told["arguments"], told["environment"], told["folder"], descriptors)
    finally:
        os._exit(status)


def _run(arguments: list[str], environment: Mapping[str, str], folder: str, descriptors: list[int]) -> int:
    """What `python ARGUMENTS` would do there, with these streams; its exit status."""
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(place, mode, size, encoding="utf-8", errors="replace", closefd=False)
        for place, mode, size in ((0, "r", -1), (1, "w", -1), (2, "w", 1))
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(ValueError):  # a list, of which torch makes what it likes
        computing = int(environment.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
        take_threads(computing, int(environment.get("TORCHINDUCTOR_COMPILE_THREADS") or 1))
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()  # Python's own random numbers do so by themselves
    code = arguments[arguments.index("-c") + 1]
    sys.argv = ["-c", *arguments[arguments.index("-c") + 2 :]]
    sys.path[0] = ""
    sys.modules["__main__"] = module = types.ModuleType("__main__")
    status: object = 0
    try:
        exec(compile(code, "<string>", "exec"), module.__dict__)
    except SystemExit as ended:
        status = ended.code
        if not isinstance(status, int | None):
            print(status, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        status = 1
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if status is None:
        return 0
    return status & 255 if isinstance(status, int) else 1


def main() -> NoReturn:
    """The server itself: `python -m conformance.plugin.forkserver DESCRIPTOR MODULES [NOTE MINUTES]`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(fileno=int(sys.argv[1]))
    path = listener.getsockname()
    if sys.argv[3:]:
        note = Path(sys.argv[3])
        try:
            serve(listener, sys.argv[2].split(","), note, float(sys.argv[4]))
        finally:  # nobody else will
            kept.forget(note, path)
            _remove(path)
    else:
        serve(listener, sys.argv[2].split(","))
    os._exit(0)


if __name__ == "__main__":
    main()
