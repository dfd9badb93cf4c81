"""The judge, tried on each cell that it finds within bounds: an error that is planted must be seen."""

from math import isnan
from typing import Any

import torch

from conformance.judging.found import TrainingStep
from matrix import oracle
from matrix.observation import Comparison

# What is planted, in units of what eager attention errs by at most. Bounds allow 4 of them at most, twice that between
# two runs.
_SIZE = 10.0


def must_see(found: Any, honest: Comparison, course: Any) -> None:
    """Spoil single numbers of a run that was found right, and have it judged by the same way again.

    Where they stand is told by the batch itself, not by what the workload says is judged.

    Raises:
        RuntimeError: nobody noticed.
    """
    if isinstance(found, TrainingStep):  # its references would have to train again
        return
    logits, size = found.logits, _SIZE * (honest.baseline_max + honest.floor_max)
    for (row, position), error in zip(_places(logits, found.forced), (-size, float("nan")), strict=True):
        off = torch.zeros_like(logits)
        off[row, position, min(1, logits.shape[-1] - 1)] = error
        with torch.no_grad():
            comparisons = found.compare(course.references, course.cell.dtype, course.does.quantised, off)
        seen = any(oracle.problems(comparison) for comparison in comparisons)
        if not seen or (isnan(error) and all(comparison.finite for comparison in comparisons)):
            raise RuntimeError(f"an error of {error:.3g} at row {row}, position {position} was not seen")


def _places(logits: torch.Tensor, forced: Any) -> list[tuple[int, int]]:
    """The beginning of the second row, and the middle of the first."""
    rows, length = logits.shape[:2]
    mask = forced.get("attention_mask")
    own = mask is not None and mask.shape == logits.shape[:2] and "decoder_input_ids" not in forced
    attended = mask.bool() if own else torch.ones(rows, length, dtype=torch.bool)
    second = min(1, rows - 1)
    begins, inside = attended[second].nonzero()[:, 0], attended[0].nonzero()[:, 0]
    return [(second, int(begins[0])), (0, int(inside[len(inside) // 2]))]
