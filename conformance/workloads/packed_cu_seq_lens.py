"""Several documents in one row, with their bounds as kernels take them. Scripts carry it along."""

from conformance.packing import bounds_of, documents, judged_apart


def run(model, batch, course):
    """Their logits, by a call without cache and mask that says positions and bounds."""
    apart = documents(batch)
    return judged_apart(model, apart, course, use_cache=False, **bounds_of(apart))
