"""What is said next is generated on from with the cache of the first answer. Scripts carry it along."""

import torch

from conformance.decoding import generated
from conformance.models.batches import extended
from conformance.spellings import cache_argument
from conformance.workloads.continued import given_tokens
from conformance.workloads.generate import chosen_greedily

ANSWER, NEXT = 12, 8  # tokens that are generated
# Few: logits are handed out behind them alone, and what a recurrent layer has lost of its state shows less with each.
SAID = 3


def run(model, batch, course):
    """The logits of each step of both answers, held against one teacher-forced pass over all, and so is each choice."""
    begin = batch["input_ids"].shape[1]
    first = generated(model, batch, course, ANSWER)
    said = given_tokens(batch, course, model, SAID)
    # The last token of a teacher-forcing batch is not looked at.
    both = extended(batch, torch.cat([first.sequences, said, said[:, :1]], dim=1), takes_position_ids=False)
    second = generated(model, both, course, NEXT, **{cache_argument(model): first.past_key_values})
    if second.past_key_values is not first.past_key_values:
        raise RuntimeError("the second answer was generated with another cache than that of the first")
    logits = torch.stack([*first.logits, *second.logits], dim=1)
    places = [*range(begin, begin + ANSWER), *range(begin + ANSWER + SAID, begin + ANSWER + SAID + NEXT)]
    return chosen_greedily(model, batch, course, logits, second.sequences, places)
