"""The whole model through torch.compile, with CUDA graphs, of which a CPU has none."""

from pathlib import Path

import pytest

from conformance.evidence import compiled
from matrix.architectures import Architecture
from matrix.cell import parse_cell
from matrix.constraints import why_impossible
from matrix.verdict import Verdict
from tests.builders import ARCHITECTURES
from tests.rooms import observed

CELL = "llama-float32-sdpa-reduce_overhead-left-generate"
LLAMA: Architecture = ARCHITECTURES["llama"]


def test_inductor_is_told_the_mode_and_what_replays_no_graph_is_none(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []

    def compile_graph(graph: object, inputs: object, mode: str) -> object:
        modes.append(mode)
        return graph

    monkeypatch.setattr(compiled, "compile_graph", compile_graph)
    judgement = observed(CELL, cache)[1]
    assert set(modes) == {"reduce-overhead"}
    assert (judgement.verdict, judgement.reason) == (Verdict.SUBSTITUTED, "no CUDA graph was replayed")


def test_one_pass_shows_nothing_of_it() -> None:
    assert why_impossible(parse_cell(CELL), LLAMA) is None
    assert "one pass" in str(why_impossible(parse_cell(CELL.replace("generate", "prefill")), LLAMA))
