"""What can go wrong while a cell is measured, and what its record is to say then: one table.

What strikes imports torch and transformers by itself, so that the table can be read without them.
"""

import collections
import contextlib
import ctypes
import faulthandler
import gc
import itertools
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from conformance.trouble.orders import Moment, Orders
from matrix.stack import Stack
from matrix.verdict import Verdict

DURING = (Moment.LOAD, Moment.FORWARD, Moment.GENERATE)
AFTER = (Moment.AFTER,)  # for what would make the cell itself go wrong, were it done before
STEERING = "\x1b]0;trouble\x07"  # would give a terminal another title
_FLOOD = 100 * 2**20  # bytes
_LONG = 10 * 2**20  # characters


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble. Cells that do not meet it are to have the verdicts that they have without it."""

    name: str
    about: str
    strike: Callable[[], object]
    verdict: Verdict = Verdict.SUPPORTED  # of the cell that meets it
    moments: tuple[Moment, ...] = DURING
    type: str = ""  # of the exception in its record, where one is to be named
    leaves: str = ""  # what its record is to name as left changed and put back
    alone: bool = False  # in a run of its own
    needs_cuda: bool = False

    def suits(self, stack: Stack) -> bool:
        """Whether it can be had here."""
        return not self.needs_cuda or bool(stack.gpus)

    def phase(self, moment: Moment) -> str:
        """The phase that the record is to name; empty where nothing failed."""
        return "" if self.verdict is Verdict.SUPPORTED else moment.value


class PlayedLoss(Exception):
    """Stands for what CUDA raises when a context is beyond use."""


class Panic(BaseException):
    """As Rust's panics come through tokenizers and safetensors: no Exception."""


class Unsayable(Exception):
    """Whoever asks what it says gets another exception."""

    def __str__(self) -> str:
        raise ValueError("it does not say")


def _raise(error: BaseException) -> NoReturn:
    raise error


def _raise_in_a_circle() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def _recurse() -> None:
    _recurse()


def _killed_by_another() -> None:
    subprocess.run(["kill", "-KILL", str(os.getpid())], check=False)
    time.sleep(60)


def _ignore_every_exception() -> None:
    while True:
        with contextlib.suppress(Exception):
            while True:
                pass


def _hang_with_the_alarm_off() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    while True:
        pass


def _wait_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def _flood() -> None:
    for descriptor in (1, 2):
        with open(descriptor, "wb", closefd=False) as stream:
            stream.write(b"x" * _FLOOD)


def _close(first: int, last: int) -> None:
    os.closerange(first, last + 1)


def _fall_silent() -> None:
    _close(3, 65535)
    time.sleep(60)


def _crash_without_a_trace() -> None:
    shutil.rmtree(Path(Orders.here().report_dir) / ".breadcrumbs", ignore_errors=True)
    os.abort()


def _leave_threads(count: int, *, daemon: bool) -> None:
    for _ in range(count):
        threading.Thread(target=time.sleep, args=(3600,), daemon=daemon).start()


def _leave_a_child() -> None:
    if os.fork() == 0:
        time.sleep(3600)
        os.kill(os.getpid(), signal.SIGKILL)


def _delete_working_directory() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def _delete_temporary_directory() -> None:
    folder = tempfile.mkdtemp()
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    os.rmdir(folder)


def _fill_the_disk() -> None:
    import resource  # not on every system

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _upset_random_numbers() -> None:
    import torch

    torch.manual_seed(7)
    random.seed(7)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def _log_nonsense() -> None:
    logging.getLogger("transformers").warning("%d tokens", "no")


def _default_dtype() -> None:
    import torch

    torch.set_default_dtype(torch.float64)


def _default_device() -> None:
    import torch

    torch.set_default_device("meta")


def _gradients() -> None:
    import torch

    torch.set_grad_enabled(not torch.is_grad_enabled())


def _sdpa_switches() -> None:
    import torch

    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_math_sdp(False)


def _wrong_by_a_tenth(right: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*args: Any, **kwargs: Any) -> Any:
        return 1.1 * right(*args, **kwargs)

    return wrong


def _patch_sdpa() -> None:
    import torch.nn.functional as functional

    functional.scaled_dot_product_attention = _wrong_by_a_tenth(functional.scaled_dot_product_attention)


def _patch_linear() -> None:
    from torch.nn import Linear

    Linear.forward = _wrong_by_a_tenth(Linear.forward)  # type: ignore[method-assign]


def _patch_linspace() -> None:
    import torch

    torch.linspace = _wrong_by_a_tenth(torch.linspace)


def _patch_matmul() -> None:
    import torch

    torch.matmul = _wrong_by_a_tenth(torch.matmul)


def _patch_registry() -> None:
    from transformers.integrations import sdpa_attention
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def wrong(*args: Any, **kwargs: Any) -> Any:
        output, weights = sdpa_attention.sdpa_attention_forward(*args, **kwargs)
        return 1.1 * output, weights

    ALL_ATTENTION_FUNCTIONS.register("sdpa", wrong)


def _hook_every_module() -> None:
    import torch
    from torch.nn.modules.module import register_module_forward_hook

    def wrong(module: Any, args: Any, output: Any) -> Any:
        return 1.1 * output if isinstance(module, torch.nn.LayerNorm) else output

    register_module_forward_hook(wrong)


def _leave_a_mode() -> None:
    import torch
    from torch.overrides import TorchFunctionMode

    class Wrong(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = function(*args, **(kwargs or {}))
            return 1.1 * found if function is torch.nn.functional.scaled_dot_product_attention else found

    Wrong().__enter__()


def _break_a_device_assertion() -> None:
    import torch

    torch.zeros(8, device="cuda")[torch.tensor([99], device="cuda")]


def _read_a_null_pointer() -> None:
    import torch

    tensor = torch.ones(2**20, device="cuda")
    tensor.untyped_storage().resize_(0)
    tensor.add_(1)


def _take_all_device_memory() -> None:
    import torch

    torch.empty(2**46, dtype=torch.uint8, device="cuda")


def _hang_in_a_kernel() -> None:
    import torch

    torch.cuda._sleep(10**15)  # cycles, which are days
    torch.cuda.synchronize()


_ENDS = (
    Trouble("abort", "os.abort()", os.abort, Verdict.CRASHED, type="ProcessEnded"),
    Trouble("segfault", "a null pointer is read", lambda: ctypes.string_at(0), Verdict.CRASHED, type="ProcessEnded"),
    Trouble(
        "sigkill",
        "SIGKILL to itself",
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        Verdict.CRASHED,
        type="ProcessEnded",
    ),
    Trouble(
        "sigterm",
        "SIGTERM to itself",
        lambda: signal.raise_signal(signal.SIGTERM),
        Verdict.CRASHED,
        type="ProcessEnded",
    ),
    Trouble("killed_by_another", "another process sends SIGKILL", _killed_by_another, Verdict.CRASHED),
    Trouble("exit_0", "os._exit(0)", lambda: os._exit(0), Verdict.CRASHED, type="ProcessEnded"),
    Trouble("exit_3", "os._exit(3)", lambda: os._exit(3), Verdict.CRASHED, type="ProcessEnded"),
    Trouble("exit_0_in_c", "_exit(0) in C", lambda: ctypes.CDLL(None)._exit(0), Verdict.CRASHED),
    Trouble(
        "descriptors_closed",
        "all file descriptors but the standard ones are closed, then nothing happens for a while",
        _fall_silent,
        Verdict.CRASHED,
        alone=True,  # its end is seen by its pipes alone, which a child that another cell has left holds open
    ),
)
_RAISES = (
    Trouble("system_exit", "sys.exit(0)", lambda: sys.exit(0), Verdict.ERROR, type="SystemExit"),
    Trouble(
        "keyboard_interrupt",
        "KeyboardInterrupt is raised, though nobody pressed a key",
        lambda: _raise(KeyboardInterrupt()),
        Verdict.ERROR,
        type="KeyboardInterrupt",
    ),
    Trouble("generator_exit", "GeneratorExit", lambda: _raise(GeneratorExit()), Verdict.ERROR, type="GeneratorExit"),
    Trouble("stop_iteration", "StopIteration", lambda: _raise(StopIteration()), Verdict.ERROR, type="StopIteration"),
    Trouble(
        "group",
        "a group of exceptions, SystemExit among them",
        lambda: _raise(BaseExceptionGroup("several", [SystemExit(0), ValueError("one")])),
        Verdict.ERROR,
        type="BaseExceptionGroup",
    ),
    Trouble(
        "panic",
        "a BaseException, as panics of Rust are",
        lambda: _raise(Panic("at src/lib.rs")),
        Verdict.ERROR,
        type="Panic",
    ),
    Trouble("skip", "pytest.skip in a library", lambda: pytest.skip("not today"), Verdict.ERROR, type="Skipped"),
    Trouble("fail", "pytest.fail in a library", lambda: pytest.fail("never"), Verdict.ERROR, type="Failed"),
    Trouble("exit", "pytest.exit in a library", lambda: pytest.exit("enough"), Verdict.ERROR, type="Exit"),
    Trouble(
        "unsayable", "an exception whose __str__ raises", lambda: _raise(Unsayable()), Verdict.ERROR, type="Unsayable"
    ),
    Trouble(
        "unsayable_cause",
        "an exception whose cause has a __str__ that raises",
        lambda: _raise(_caused(RuntimeError("outer"), Unsayable())),
        Verdict.ERROR,
        type="RuntimeError",
    ),
    Trouble("circle", "two exceptions that cause each other", _raise_in_a_circle, Verdict.ERROR, type="RuntimeError"),
    Trouble(
        "long_message",
        "a message of 10 MB with escape sequences, NUL and half surrogates",
        lambda: _raise(RuntimeError(STEERING + "\0\ud800" + "x" * _LONG + STEERING)),
        Verdict.ERROR,
        type="RuntimeError",
    ),
    Trouble("recursion", "recursion without end", _recurse, Verdict.ERROR, type="RecursionError"),
    Trouble("memory_error", "MemoryError", lambda: _raise(MemoryError()), Verdict.OUT_OF_MEMORY, type="MemoryError"),
    Trouble(
        "lost_device",
        "a lost CUDA context, played",
        lambda: _raise(PlayedLoss("CUDA error: played")),
        Verdict.DEVICE_LOST,
        type="PlayedLoss",
    ),
)
_HANGS = (
    Trouble("sleep", "time.sleep without end", lambda: time.sleep(10**6), Verdict.TIMEOUT, type="CellTimeout"),
    Trouble("deadlock", "a lock that nobody releases", _wait_for_a_lock, Verdict.TIMEOUT, type="CellTimeout"),
    Trouble(
        "deaf_loop",
        "a loop that swallows every Exception",
        _ignore_every_exception,
        Verdict.TIMEOUT,
        type="ProcessDied",
    ),
    Trouble(
        "hang_in_c",
        "a loop in C that holds the GIL",
        lambda: collections.deque(itertools.repeat(None), maxlen=0),
        Verdict.TIMEOUT,
        type="ProcessDied",
    ),
    Trouble(
        "alarm_off",
        "SIGALRM is ignored, then a loop",
        _hang_with_the_alarm_off,
        Verdict.TIMEOUT,
        type="ProcessDied",
    ),
)
# After these the cell goes on, and whatever comes after it in the same process.
_LEAVES = (
    Trouble("flood", "100 MB to each of the descriptors 1 and 2", _flood),
    Trouble("standard_streams_closed", "the descriptors 0 to 2 are closed", lambda: _close(0, 2)),
    Trouble("no_stdout", "sys.stdout = sys.stderr = None", lambda: vars(sys).update(stdout=None, stderr=None)),
    Trouble("daemon_threads", "200 daemon threads are left", lambda: _leave_threads(200, daemon=True)),
    Trouble("other_threads", "5 threads that are no daemons are left", lambda: _leave_threads(5, daemon=False)),
    Trouble("fork_goes_on", "a fork whose child goes on as if it were the cell", os.fork),
    Trouble("child_left", "a child that sleeps on, with all that the process has open", _leave_a_child),
    Trouble("children_forgotten", "SIGCHLD is ignored", lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)),
    Trouble(
        "working_directory_gone",
        "the working directory is another, and deleted",
        _delete_working_directory,
        leaves="working directory",
    ),
    Trouble("environment_cleared", "os.environ.clear()", os.environ.clear, leaves="environment"),
    Trouble(
        "temporary_directory_gone",
        "the folder for temporary files is another, and deleted",
        _delete_temporary_directory,
    ),
    Trouble("disk_full", "no file may grow any more (RLIMIT_FSIZE)", _fill_the_disk),
    Trouble("warnings_are_errors", 'warnings.simplefilter("error")', lambda: warnings.simplefilter("error")),
    Trouble("nonsense_logged", "a log message whose arguments do not fit", _log_nonsense),
    Trouble("logging_off", "logging.disable()", lambda: logging.disable(logging.CRITICAL)),
    Trouble("no_garbage_collection", "gc.disable()", gc.disable),
    Trouble("umask", "os.umask(0o777)", lambda: os.umask(0o777)),
    Trouble("random_numbers", "seeds, threads and denormal numbers", _upset_random_numbers),
    Trouble("faulthandler_off", "faulthandler.disable()", faulthandler.disable),
    Trouble("default_dtype", "the default dtype is left", _default_dtype, moments=AFTER, leaves="default dtype"),
    Trouble("default_device", "the default device is left", _default_device, moments=AFTER, leaves="default device"),
    Trouble("gradients", "torch.set_grad_enabled is left", _gradients, moments=AFTER, leaves="gradients"),
    Trouble("sdpa_switches", "kernels of SDPA are left off", _sdpa_switches, moments=AFTER, leaves="kernel of SDPA"),
    Trouble(
        "sdpa_patched",
        "F.scaled_dot_product_attention is left patched",
        _patch_sdpa,
        moments=AFTER,
        leaves="scaled_dot_product_attention",
    ),
    Trouble("linear_patched", "Linear.forward is left patched", _patch_linear, moments=AFTER, leaves="Linear.forward"),
    Trouble("linspace_patched", "torch.linspace is left patched", _patch_linspace, moments=AFTER),
    Trouble("matmul_patched", "torch.matmul is left patched", _patch_matmul, moments=AFTER),
    Trouble("registry_patched", "a wrong entry in ALL_ATTENTION_FUNCTIONS is left", _patch_registry, moments=AFTER),
    Trouble("hook_on_every_module", "a hook on every module is left", _hook_every_module, moments=AFTER),
    Trouble("mode_left", "a TorchFunctionMode is left entered", _leave_a_mode, moments=AFTER),
)
_OF_A_GPU = (
    Trouble(
        "device_assertion",
        "an index out of range in a CUDA kernel",
        _break_a_device_assertion,
        Verdict.DEVICE_LOST,
        needs_cuda=True,
    ),
    Trouble(
        "illegal_access",
        "a CUDA kernel reads a null pointer",
        _read_a_null_pointer,
        Verdict.DEVICE_LOST,
        needs_cuda=True,
    ),
    Trouble(
        "device_memory",
        "more device memory than there is",
        _take_all_device_memory,
        Verdict.OUT_OF_MEMORY,
        type="OutOfMemoryError",
        needs_cuda=True,
    ),
    Trouble(
        "hang_in_a_kernel",
        "a CUDA kernel that runs for days",
        _hang_in_a_kernel,
        Verdict.TIMEOUT,
        type="ProcessDied",
        needs_cuda=True,
    ),
)
_OF_A_RUN = (
    Trouble(
        "report_folder_deleted",
        "the report folder is deleted during the run",
        lambda: shutil.rmtree(Orders.here().report_dir),
        moments=(Moment.FORWARD,),
        alone=True,
    ),
    Trouble(
        "crash_without_a_trace",
        "what says where the process is cannot be written, then os.abort(), each time that the cell runs",
        _crash_without_a_trace,
        Verdict.CRASHED,
        moments=(Moment.LOAD,),  # which is what can be said without knowing
        alone=True,
    ),
)


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


TROUBLES = {one.name: one for one in (*_ENDS, *_RAISES, *_HANGS, *_LEAVES, *_OF_A_GPU, *_OF_A_RUN)}
