"""The whole model through torch.compile, recorded in CUDA graphs. Scripts carry it along."""

import functools
import weakref

import torch

from conformance.evidence.compiled import Compiled
from conformance.spellings import cache_argument

UNRECORDED = 2  # runs of inputs of one shape: the first is plain, and the second is recorded


def transform(model, course):
    """Compile its forward pass so, of which nothing runs yet.

    Logits are cloned, as torch's documentation asks, for the next replay writes over them. A pass without a cache first
    comes with its rows in reverse, until it is a replay: a graph that keeps old inputs answers for the wrong rows. With
    a cache the prompt runs plain, as in `generate`: what a cache makes for itself would be a graph's to write over.
    """
    with course.during("transform"):
        plain = model.forward
        compiled = torch.compile(plain, backend=Compiled(course.watch, mode="reduce-overhead"))
        known, filled, handed_on = set(), weakref.WeakSet(), cache_argument(model)

        @functools.wraps(plain)
        def forward(*args, **given):
            cache = given.get(handed_on)
            if cache is not None and cache not in filled:
                filled.add(cache)
                return plain(*args, **given)
            if cache is None and not args:
                tensors = {
                    name: value for name, value in given.items() if isinstance(value, torch.Tensor) and value.ndim
                }
                shapes = tuple((name, value.shape) for name, value in tensors.items())
                for _ in range(0 if shapes in known else UNRECORDED):
                    compiled(**given | {name: value.flip(0) for name, value in tensors.items()})
                known.add(shapes)
            output = compiled(*args, **given)
            for name in ("logits", "last_hidden_state"):
                if isinstance(output.get(name), torch.Tensor):
                    output[name] = output[name].clone()
            return output

        model.forward = forward
        return model
