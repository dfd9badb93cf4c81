"""Loaded again and again, and dropped."""

import contextlib
from collections.abc import Iterator
from threading import Event, Thread
from types import SimpleNamespace

import pytest
import torch
import transformers

from conformance.workloads.repeated_loads import LOADS, held_now, run
from matrix.cell import make_cell
from matrix.observation import Evidence
from matrix.workloads import WORKLOADS
from tests.builders import ARCHITECTURES

CELL = make_cell("llama", dtype="float32", attention="sdpa", device_map="tp2", workload="repeated_loads")


def made() -> transformers.PreTrainedModel:
    config = transformers.AutoConfig.for_model("llama", **ARCHITECTURES["llama"].config)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


class _Course:
    """One that makes a model where another would load it."""

    device = torch.device("cpu")

    def __init__(self, load: object) -> None:
        self.load, self.watch = load, SimpleNamespace()

    @contextlib.contextmanager
    def during(self, phase: str) -> Iterator[None]:
        yield


def test_what_each_load_leaves_is_counted_from_the_first_on() -> None:
    enough = Event()
    threads: list[Thread] = []

    def load() -> transformers.PreTrainedModel:
        threads.append(Thread(target=enough.wait))
        threads[-1].start()
        return made()

    course = _Course(load)
    batch = {"input_ids": torch.arange(4, 12)[None], "attention_mask": torch.ones(1, 8, dtype=torch.long)}
    with torch.no_grad():
        found = run(made(), batch, course)
    enough.set()
    for thread in threads:
        thread.join()
    assert len(threads) == 1 + LOADS
    assert course.watch.left_by_loads["threads"] >= LOADS
    assert found.one.shape == found.other.shape


def test_what_the_process_holds_is_read_off_the_system() -> None:
    held = held_now(torch.device("cpu"))
    assert held["MiB"] > 50
    assert held["threads"] >= 1


@pytest.mark.parametrize(
    ("left", "words"),
    [
        ({"MiB": 3.0, "threads": 0.0}, []),
        ({"MiB": 900.0, "threads": 0.0}, ["twelve loads left 900 MiB behind, 64 would pass"]),
        ({"MiB": 0.0, "threads": 216.0}, ["twelve loads left 216 threads behind, 6 would pass"]),
        ({}, ["nobody measured what the loads left behind"]),
    ],
)
def test_what_is_too_much(left: dict[str, float], words: list[str]) -> None:
    substituted = WORKLOADS["repeated_loads"].substituted
    assert substituted is not None
    assert list(substituted(CELL, ARCHITECTURES["llama"], Evidence(left_by_loads=left), "cpu")) == words
