"""Cast after it was dispatched. Scripts carry it along."""

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions
from conformance.models.outputs import forward

CASTS = {"float32": "float", "float16": "half", "bfloat16": "bfloat16"}


def run(model, batch, course):
    """Two models loaded in another dtype and then cast to the cell's, without the device_map and with it.

    Held against each other and not against one that was loaded in the dtype: a cast rounds buffers, too.
    """
    batch, dtype = with_positions(batch, model), str(course.cell.dtype)
    other = "bfloat16" if dtype == "float32" else "float32"
    plain, mapped = course.load(dtype=other, mapped=False), course.load(dtype=other)
    with course.during("transform"):
        plain, mapped = (getattr(model, CASTS[dtype])() for model in (plain, mapped))
    with course.during("forward"):
        one = forward(plain, batch)
    with course.instead(mapped), course.during("forward"):
        return TwoRuns("cast_after", one, forward(mapped, batch), batch, judged(batch, one))
