"""Saved before use, loaded, saved and loaded again. Scripts carry it along."""

import tempfile

from conformance.judging.found import TwoRuns
from conformance.models.batches import judged, with_positions
from conformance.models.loading import lacking
from conformance.models.outputs import forward
from conformance.models.saved import SavedWrongly, layout, what_is_wrong

SHARD = "200KB"  # so that even small models are saved in several


def run(model, batch, course):
    """The model, and what two rounds of save_pretrained and from_pretrained make of it.

    Raises:
        SavedWrongly: the files do not say how they are to be read, or the second save has other tensors.
    """
    batch, twin, layouts = with_positions(batch, model), model, []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            with course.during("save"):
                twin.save_pretrained(folder, safe_serialization=True, max_shard_size=SHARD)
                wrong = what_is_wrong(folder)
                if wrong:
                    raise SavedWrongly("; ".join(wrong))
            layouts.append(layout(folder))
            twin = course.load(checkpoint=folder, quantised=False)
        if lacking(twin):
            raise SavedWrongly(f"the saved checkpoint lacks {', '.join(lacking(twin)[:5])}")
    if layouts[0] != layouts[1]:
        changed = sorted(layouts[0].items() ^ layouts[1].items())
        raise SavedWrongly(f"saved again it has other tensors: {changed[:4]}")
    with course.during("forward"):
        one = forward(model, batch)
        return TwoRuns("saved again", one, forward(twin, batch), batch, judged(batch, one))
