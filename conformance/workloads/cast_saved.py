"""Cast, saved and loaded again. Scripts carry it along."""

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions
from conformance.models.loading import torch_dtype
from conformance.models.outputs import forward
from conformance.models.saved import saved_and_loaded


def run(model, batch, course):
    """A model that was loaded in another dtype and cast to the cell's, and what comes of it when it is saved.

    What is loaded is cast, too: a cast rounds buffers.

    Raises:
        SavedWrongly: the files do not say how they are to be read, or lack a parameter.
    """
    batch, dtype = with_positions(batch, model), torch_dtype(course.cell.dtype)
    cast = course.load(dtype="bfloat16" if course.cell.dtype == "float32" else "float32")
    with course.during("transform"):
        cast = cast.to(dtype)
    with course.instead(cast), course.during("forward"):
        one = forward(cast, batch)
    twin, _ = saved_and_loaded(cast, course)
    with course.during("transform"):
        twin = twin.to(dtype)
    with course.during("forward"):
        return TwoRuns("cast and saved", one, forward(twin, batch), batch, judged(batch, one))
