"""Beam search: every beam's logits, and the score of what is returned."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import transformers

from conformance.faults import FAULTS, Fault
from conformance.workloads import beam
from matrix.verdict import Verdict
from tests.rooms import must_break, must_hold, observed

CELL = "llama-float32-sdpa-left-beam"


@pytest.mark.parametrize("cell", [CELL, "t5-bfloat16-sdpa-right-beam", "bloom-float16-eager-left-beam"])
def test_it_holds_for_an_honest_model(cache: Path, cell: str) -> None:
    (comparison,) = must_hold(cell, cache).comparisons
    assert comparison.positions == 16 * 4 * 4  # steps, rows, beams: none is left out
    assert list(comparison.consequences) == ["score"]


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.workload == "generate"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_goes_wrong_in_decoding_is_seen(cache: Path, name: str, dtype: str) -> None:
    assert "beam logits" in must_break(f"llama-{dtype}-sdpa-left-beam", FAULTS[name], cache)


def cache_not_reordered(model: Any) -> AbstractContextManager[Any]:
    """The beams change places and their keys and values do not."""
    return mock.patch.object(transformers.DynamicCache, "reorder_cache", return_value=None)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_cache_that_is_not_reordered_is_seen(cache: Path, dtype: str) -> None:
    fault = Fault("cache_not_reordered", "beams without their cache", bool, running=cache_not_reordered)
    assert "beam logits" in must_break(f"llama-{dtype}-sdpa-left-beam", fault, cache)


@pytest.mark.parametrize(("off", "says"), [(0.0, ""), (0.05, "score")])
def test_a_score_that_is_not_the_sequences_is_seen(
    cache: Path, monkeypatch: pytest.MonkeyPatch, off: float, says: str
) -> None:
    usual = beam.generated

    def scored(*args: Any, **kwargs: Any) -> Any:
        output = usual(*args, **kwargs)
        output.sequences_scores[2] += off
        return output

    monkeypatch.setattr(beam, "generated", scored)
    judgement = observed(CELL, cache)[1]
    assert judgement.verdict is (Verdict.INACCURATE if says else Verdict.SUPPORTED)
    assert says in judgement.reason
    assert not says or "logits m" not in judgement.reason


def test_a_sequence_that_no_beam_held_has_no_score() -> None:
    kept = [torch.zeros(4, 3, dtype=torch.long), torch.zeros(4, 4, dtype=torch.long)]
    output = type("Output", (), {"sequences": torch.full((1, 5), 7), "sequences_scores": torch.zeros(1)})
    assert beam.score_error(torch.zeros(8, 9), kept, output) == float("inf")


def test_each_step_is_found_in_a_beam_that_goes_on() -> None:
    kept = [torch.tensor([[5]] * 4), torch.tensor([[5, 1], [5, 2], [5, 3], [5, 4]])]
    kept.append(torch.tensor([[5, 2, 1], [5, 2, 2], [5, 1, 1], [5, 1, 2]]))
    leaves, rows, places = beam.tree_of(kept)
    assert [held.tolist() for _, held in leaves] == [[5, 2, 1], [5, 2, 2], [5, 1, 1], [5, 1, 2], [5, 3], [5, 4]]
    held = [leaves[row][1][: place + 1].tolist() for row, place in zip(rows, places, strict=True)]
    assert held == [beams.tolist() for step in kept for beams in step]
