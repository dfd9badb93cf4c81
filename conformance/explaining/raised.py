"""Where an exception came from: frames of the libraries, the module that was running, what it was given, the causes."""

import inspect
import linecache
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch

from matrix.observation import Failure, Phase
from reports.printable import printable

_FRAMES_KEPT = 6
_OWN = ("conformance/", "matrix/", "reports/", "tests/")
_MACHINERY = re.compile(
    r"torch/nn/modules/module\.py|torch/utils/_contextlib\.py|torch/_dynamo/eval_frame\.py|_pytest/|pluggy/"
)
_CALLS = {torch.nn.Module._call_impl.__code__}
# In the table of what could not be converted an entry ends with "Error: Operation on tensors …", which nobody raised.
_RAISED = re.compile(r"^\s*((?:\w+\.)*(?:\w+Error|\w*Exception)): (.+)$", re.MULTILINE)


def failure_of(error: BaseException, phase: Phase, warned: Iterable[str], places: Mapping[str, str]) -> Failure:
    """What an exception says, and where it came from; `warned` is what the libraries said meanwhile."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    lines = [line for _, line in traceback.walk_tb(error.__traceback__)]
    shown = [
        f"{path}:{line} {frame.f_code.co_name}"
        for frame, line in zip(frames, lines, strict=True)
        if (path := _of_a_library(frame.f_code)) and not _MACHINERY.search(path)
    ]
    name, module, inputs = _running(frames)
    return Failure(
        phase,
        type(error).__name__,
        printable(_message(error, frames, lines), places),
        frames=tuple(printable(frame, places) for frame in shown[-_FRAMES_KEPT:]),
        module=name,
        module_class=type(module).__name__ if module is not None else "",
        inputs=tuple(printable(given, places) for given in inputs),
        causes=tuple(printable(cause, places) for cause in dict.fromkeys(_causes(error, warned))),
    )


def _message(error: BaseException, frames: list[FrameType], lines: list[int]) -> str:
    try:
        message = str(error)
    except BaseException as unsaid:
        return f"its message cannot be read, that raises {type(unsaid).__name__}"
    if message.strip() or not frames:
        return message
    source = linecache.getline(frames[-1].f_code.co_filename, lines[-1]).strip()
    return f"(no message) {source}"


def _of_a_library(code: CodeType) -> str:
    """The path of its file in its package, or empty for the suite's own and Python's."""
    for folder in sorted(filter(None, sys.path), key=len, reverse=True):
        if code.co_filename.startswith(f"{folder}/"):
            path = code.co_filename.removeprefix(f"{folder}/")
            of_python = Path(folder) == Path(sysconfig.get_path("stdlib"))
            return "" if of_python or path.startswith(_OWN) else path
    return ""


def _running(frames: list[FrameType]) -> tuple[str, torch.nn.Module | None, list[str]]:
    """The innermost module of the model: its name in it, itself, and what it was called with."""
    called = [frame for frame in frames if frame.f_code in _CALLS]
    if not called:
        return "", None, []
    root, innermost = called[0].f_locals["self"], called[-1]
    names = {id(module): name for name, module in root.named_modules()}
    inside = [frame for frame in called if id(frame.f_locals["self"]) in names]
    innermost = inside[-1] if inside else called[0]
    module = innermost.f_locals["self"]
    return names[id(module)], module, list(_inputs(module, innermost.f_locals["args"], innermost.f_locals["kwargs"]))


def _inputs(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[str]:
    try:
        given = inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
    except TypeError:  # which may be just what was raised
        given = {**{str(number): value for number, value in enumerate(args)}, **kwargs}
    given |= given.pop("kwargs", {}) if isinstance(given.get("kwargs"), dict) else {}
    for name, value in given.items():
        parts = value if isinstance(value, tuple) else (value,)
        described = [described_tensor(part) for part in parts if isinstance(part, torch.Tensor)]
        if described:
            yield f"{name}: {', '.join(described)}"
        elif value is not None and not isinstance(value, tuple | bool | int | float | str):
            yield f"{name}: {type(value).__name__}"


def described_tensor(tensor: torch.Tensor) -> str:
    """Dtype, shape and device."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)} {tensor.device}"


def _causes(error: BaseException, warned: Iterable[str]) -> Iterator[str]:
    seen = {id(error)}
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield f"{type(cause).__name__}: {(_message(cause, [], []).strip().splitlines() or [''])[0]}"
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    # transformers 5 says what it could not convert in a table that it logs, and raises without it.
    for said in warned:
        if "CONVERSION" in said:
            yield from (f"{found[1]}: {found[2]}" for found in _RAISED.finditer(said))
