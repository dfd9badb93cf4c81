"""Golden and baseline of a cell. Scripts carry it along."""

import copy
import math
from contextlib import contextmanager

import torch

from conformance.judging.precision import exactly
from conformance.models.batches import alone, judged, others, rows_of, told
from conformance.models.loading import load_reference
from conformance.models.outputs import forward, home

# How many times what its rows alone err by a batch may err by, in the same eager attention and dtype, and still be an
# ordinary run. Rounding differs with the shape of a product, on an H100 by up to 1.3 times.
ORDINARY = 2.0

# A router at a near tie, or a few tokens of a picture to which all of a text attends, make of eager attention's error a
# matter of luck. The worst of eight draws errs 1.7 to 2.6 times as much on average as the run with inputs as they are
# for ERNIE-4.5-VL, T5Gemma 2 and Zaya in float16, in one place up to 30 times; for BERT, GPT-2, Llama, Mixtral and
# Qwen3-MoE in 16 bits 1.02 to 1.13 times. Where luck does not show in the mean no draw counts: the largest error of all
# strays by itself, and Zamba 2's time steps, wrong at 1.26 of that bound, were right by the largest of nine.
DRAWS = 8
LUCKY = 1.5  # times the mean error
_ROUNDED_OTHERWISE = 1 / 12  # of the numbers, by one step: in the mean square as much as one more rounding of all


class References:
    """Golden (the truth: the cell's own weights one precision up, TF32 off) and baseline (an ordinary run).

    Golden sees each row alone, unpadded and uncached: what goes wrong with padding, with neighbours in a batch or
    with a cache, goes wrong for the candidate only. Baseline sees the batch, uncached; where that is further from the
    truth than rounding explains it shares a fault, and its rows alone are the yardstick. Where a model's own positions
    count the padding and cannot be told, or its frequencies follow the length of a batch, a row alone is another model,
    and the padded batch is all the truth there is.
    """

    draws = 0  # how often the inputs of the baseline are rounded otherwise; the worst run is the baseline then

    def __init__(self, cell, source, does, device):
        self.cell, self.source, self.does, self.device = cell, source, does, device
        self.weight_sums = {}  # golden or not -> of what was loaded

    def __call__(self, batch, *, golden):
        """Logits of shape (batch, positions, vocabulary)."""
        return self._truth(batch) if golden else self._baseline(batch)

    @property
    def _whole_only(self):
        return self.source.architecture.positions in ("fixed", "length")

    def _truth(self, batch):
        if self._whole_only:
            return self.run(self.model(True), lambda model: home(forward(model, batch)), True)
        truth = self.run(self.model(True), lambda model: each_row_alone(model, batch), True)
        mask = batch.get("attention_mask")
        of_tokens = mask is not None and "decoder_input_ids" not in batch and mask.shape == truth.shape[:2]
        if of_tokens and bool(truth[~mask.bool()].any()):
            raise RuntimeError("the truth says something of padding: it is not of each row alone")
        return truth

    def _baseline(self, batch):
        truth, baseline = self(batch, golden=True), self.model(False)
        if not self._whole_only and self.weight_sums[True] != self.weight_sums[False]:
            raise RuntimeError("golden and baseline have different weights: some were drawn, not loaded")
        where = judged(batch, truth)

        def error(found):
            return float((found - truth)[where].abs().double().mean())

        def ran(how, given):
            return self.run(baseline, lambda model: how(model, given).to(truth.device), False)

        def whole(model, given):
            return forward(model, told(given, model, self.source.architecture))

        alone = None if self._whole_only else ran(each_row_alone, batch)
        how, found = whole, ran(whole, batch)
        if alone is not None and not error(found) <= ORDINARY * error(alone):
            how, found = each_row_alone, alone
        if not self.draws:
            return found
        most = LUCKY * error(found)
        for draw in range(self.draws):
            with rounded_otherwise(baseline, batch, draw) as given:
                other = ran(how, given)
            if most < (off := error(other)) < math.inf:
                found, most = other, off
        return found

    def drawn(self):
        """The same with the worst of several baselines, where they differ by much."""
        other = copy.copy(self)
        other.draws = DRAWS
        return other

    def run(self, model, how, golden):
        """What `how(model)` gives with a reference."""
        with torch.no_grad(), exactly(self.cell.dtype, golden):
            return how(model)

    def anew(self, batch, how, *, golden):
        """What `how(model, batch)` gives with a reference that nobody else uses, for it may be left changed."""
        model = load_reference(self.cell, self.source, self.does, self.device, golden=golden)
        with exactly(self.cell.dtype, golden):
            return how(model, batch)

    def model(self, golden, attention=None):
        """The reference model, through another attention implementation if one is named."""
        where = self.cell, self.source, self.does, self.device
        model = load_reference(*where, golden=golden, attention=attention)
        self.weight_sums[golden] = model.weight_sum
        return model


@contextmanager
def rounded_otherwise(model, batch, draw):
    """The batch, and while entered what the model makes of its ids, with some numbers a step of their dtype off."""
    generator = torch.Generator().manual_seed(draw)

    def off(values):
        if not isinstance(values, torch.Tensor) or not values.is_floating_point():
            return values
        drawn = torch.rand(values.shape, generator=generator)
        sign = (drawn < _ROUNDED_OTHERWISE / 2).float() - (drawn > 1 - _ROUNDED_OTHERWISE / 2).float()
        step = 0.75 * torch.finfo(values.dtype).eps  # between half a step of their last digit and one and a half
        wider = torch.promote_types(values.dtype, torch.float32)
        return (values.to(wider) * (1 + step * sign.to(values.device))).to(values.dtype)

    embeddings = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    hooks = [module.register_forward_hook(lambda module, given, output: off(output)) for module in embeddings]
    try:
        yield {name: off(values) for name, values in batch.items()}
    finally:
        for hook in hooks:
            hook.remove()


def each_row_alone(model, batch):
    """Logits of shape (batch, positions, classes); zero where there is padding."""
    rows, places = [], []
    for row in range(rows_of(batch)):
        own, where = alone(batch, row)
        if "input_ids" not in own or not others(own):  # with pictures some classes find positions by the mask alone
            own.pop("attention_mask", None)
        logits = forward(model, own)
        by_position = isinstance(where, torch.Tensor) and logits.shape[1] == int(where.sum())
        rows.append(logits[0])
        places.append(where if by_position else slice(None))
    apart = home(torch.cat(rows)).split([len(row) for row in rows])  # at once: each copy waits for the GPU
    length = len(places[0]) if isinstance(places[0], torch.Tensor) else len(rows[0])
    found = apart[0].new_zeros((len(rows), length, apart[0].shape[-1]))
    for row, (logits, where) in enumerate(zip(apart, places, strict=True)):
        found[row, where] = logits
    return found
