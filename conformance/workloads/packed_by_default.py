"""Several documents in one row, and nothing said of a cache. Scripts carry it along."""

from conformance.packing import documents, judged_apart


def run(model, batch, course):
    """Their logits, by a call that says the tokens and their positions, and nothing else."""
    return judged_apart(model, documents(batch), course)
