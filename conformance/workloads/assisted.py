"""Greedy decoding from the drafts of a second model. Scripts carry it along."""

from itertools import count

import torch

from conformance.decoding import generated
from conformance.models.batches import one_row, rows_of
from conformance.workloads.generate import chosen_greedily

DRAFTED_TOKENS = 24
DRAFT = 5  # tokens at once
WRONG = 3  # of the draft's tokens every third


def run(model, batch, course):
    """What is chosen with the help of a draft is what would be chosen without.

    Raises:
        RuntimeError: no drafted token was accepted, though most are right.
    """
    draft = wavering(course)
    found, drafts, accepted = drafted(model, batch, course, assistant_model=draft)
    if not accepted:
        raise RuntimeError(f"of {drafts} drafted tokens none was accepted: nothing was gained by them")
    return found


def wavering(course):
    """The same weights in plain attention, of whose tokens every third is another than it would choose.

    So some of most drafts is accepted, and some is not, whatever the weights are. Its attention is plain, for what is
    watched is the candidate's.
    """
    draft = course.load(attention=course.source.architecture.reference_attention)
    draft.generation_config.update(
        num_assistant_tokens=DRAFT, num_assistant_tokens_schedule="constant", assistant_confidence_threshold=0.0
    )
    calls = count(1)

    def waver(module, given, output):
        if next(calls) % WRONG == 0:
            output.logits = output.logits.roll(1, -1)
        return output

    draft.register_forward_hook(waver)
    return draft


def drafted(model, batch, course, **arguments):
    """What was found, how many tokens were drafted and how many of them were accepted.

    The logits of each step are held against teacher-forced ones, and so is each choice. `generate` takes one row at a
    time where there are drafts: each is a batch of its own, its padding kept.

    Raises:
        RuntimeError: nothing was drafted.
    """
    outputs, given = [], []

    def keep(module, args, kwargs, output):
        tokens = kwargs.get("decoder_input_ids", kwargs.get("input_ids"))
        given.append(tokens.shape[1])

    handle = model.register_forward_hook(keep, with_kwargs=True)
    for row in range(rows_of(batch)):
        outputs.append(generated(model, one_row(batch, row), course, DRAFTED_TOKENS, **arguments))
    handle.remove()
    logits = torch.cat([torch.stack(output.logits, dim=1) for output in outputs])
    sequences = torch.cat([output.sequences for output in outputs])
    # Each call is given what was chosen last, the first of a row its prompt, and behind it what is drafted.
    before = len(outputs) * (sequences.shape[1] - DRAFTED_TOKENS - 1)
    chosen = logits.shape[:2].numel()
    drafts, accepted = sum(given) - before - len(given), chosen - len(given)
    if drafts <= 0:
        raise RuntimeError(f"{len(given)} calls chose {chosen} tokens, and none was drafted")
    found = chosen_greedily(model, batch, course, logits, sequences)
    return found, drafts, accepted
