"""Greedy decoding from drafts that stand in the text so far. Scripts carry it along."""

from conformance.workloads.assisted import DRAFT, drafted


def run(model, batch, course):
    """What is chosen with the help of a draft is what would be chosen without.

    What a model with random weights says repeats what stands before by chance alone: most drafts are turned down.
    """
    found, _, _ = drafted(model, batch, course, prompt_lookup_num_tokens=DRAFT)
    return found
