"""Saved before use, loaded, saved and loaded again. Scripts carry it along."""

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions
from conformance.models.outputs import forward
from conformance.models.saved import SavedWrongly, saved_and_loaded

SHARD = "200KB"  # so that even small models are saved in several


def run(model, batch, course):
    """The model, and what two rounds of save_pretrained and from_pretrained make of it.

    Raises:
        SavedWrongly: the files do not say how they are to be read, or the second save has other tensors.
    """
    batch, twin, layouts = with_positions(batch, model), model, []
    for _ in range(2):
        twin, saved = saved_and_loaded(twin, course, max_shard_size=SHARD)
        layouts.append(saved)
    if layouts[0] != layouts[1]:
        changed = sorted(layouts[0].items() ^ layouts[1].items())
        raise SavedWrongly(f"saved again it has other tensors: {changed[:4]}")
    with course.during("forward"):
        one = forward(model, batch)
        return TwoRuns("saved again", one, forward(twin, batch), batch, judged(batch, one))
