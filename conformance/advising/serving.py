"""What runs in the process of a subject: one question at a time, and an answer to each, whatever a library raises."""

import gc
import resource
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from conformance.advising.prompts import has_words
from conformance.advising.references import make_truth
from conformance.advising.subject import Subject
from conformance.advising.task import Task, Way
from conformance.advising.weights import make_checkpoint
from conformance.bench import Bench
from conformance.course import Course
from conformance.faults.catalogue import find
from conformance.interruption import end_with_parent
from conformance.models.loading import Source
from conformance.rooms import doing
from conformance.spellings import quieten
from matrix import shortage
from matrix.advice.search import Failed, State
from matrix.cell import parse_cell
from matrix.stack import Device

_LONGEST = 300


def serve(asked: Connection, task: Task) -> None:
    """Answer what comes until the other side is gone. An answer is what was asked for, or Failed; and what it holds."""
    end_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    subject = Subject(task)
    while True:
        try:
            name, arguments = asked.recv()
        except EOFError:
            return
        asked.send((answer(subject, name, arguments), subject.held()))


def answer(subject: Subject, name: str, arguments: tuple[Any, ...]) -> Any:
    """What a subject says, or why it says nothing."""
    try:
        return getattr(subject, name)(*arguments)
    except Exception as error:  # whatever a library raises is a measurement
        failed = _failed(error, subject.course)
    # Here the exception is gone, and with it the tensors that its traceback held.
    gc.collect()
    return failed


def make_reference(asked: Connection, task: Task) -> None:
    """Make the truth for a task, and say None, or Failed."""
    end_with_parent()
    quieten()
    cell, source = parse_cell(task.cell), Source(task.architecture, task.checkpoint, own=task.own)
    device = torch.device("cuda:0" if task.device is Device.CUDA else "cpu")
    does = doing(cell)
    try:
        make_truth(cell, source, does, device, task.judged, task.references)
        asked.send(None)
    except Exception as error:  # whatever a library raises
        asked.send(_failed(error, Course(cell, source, does, device)))


def make_weights(asked: Connection, task: Task, target: str) -> None:
    """Make a checkpoint of the shapes of the task's, and say None, or Failed."""
    end_with_parent()
    quieten()
    try:
        make_checkpoint(task.checkpoint, task.architecture.auto_class, task.device, Path(target))
        asked.send(None)
    except Exception as error:  # whatever a library raises
        asked.send(Failed(State.REFUSED, _line(error)))


def explain(asked: Connection, task: Task, way: Way) -> None:
    """Say where the wrong numbers of a configuration begin, empty where no place can be told; or Failed."""
    end_with_parent()
    quieten()
    cell = parse_cell(way.cell)
    try:
        bench = Bench(
            device=task.device,
            architectures={cell.architecture: task.architecture},
            fixture_cache=Path(task.references),
            checkpoints={cell.architecture: task.checkpoint},
            fault=find(task.fault) if task.fault else None,
        )
        origin = bench.origin(cell)
        verb = "begins in" if origin is not None and origin.brings else "first seen in"
        asked.send("" if origin is None else f"{verb} {origin.place}: {origin.pattern}")
    except Exception as error:  # whatever a library raises
        asked.send(Failed(State.REFUSED, _line(error)))


def look(asked: Connection, task: Task) -> None:
    """Say what the library does with the checkpoint by itself: dtype, attention, positions; whether it has words."""
    end_with_parent()
    quieten()
    from conformance.advising.looking import looked

    try:
        source = Source(task.architecture, task.checkpoint)
        asked.send(looked(source) | {"words": has_words(source)})
    except Exception as error:  # whatever a library raises
        asked.send(Failed(State.REFUSED, _line(error)))


def _failed(error: Exception, course: Course) -> Failed:
    message = str(error)
    short = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or shortage.is_told_by(message)
    if short:
        return Failed(State.OUT_OF_MEMORY, shortage.figures_in(message) or _line(error))
    return Failed(State.REFUSED, f"{_line(error)} (in {course.phase})")


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'nothing was said'}"[:_LONGEST]
