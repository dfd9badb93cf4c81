"""Watching a model run: which ops and functions are called. Scripts carry it along."""

import functools
from collections import Counter
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import count

import torch
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode

from conformance.spellings import cache_argument, counting_flex_calls

ENCODER_LAYER_OP = "aten::_transformer_encoder_layer_fwd"
WATCHED_PASSES = 3


class Watch:
    """Counts attention and quantisation calls while it is entered, and keeps the classes of caches.

    Args:
        quantisers: namespaces of the ops that quantisers run, or whole names of such ops.
    """

    def __init__(self, quantisers=()):
        self.quantisers = tuple(name if "::" in name else f"{name}::" for name in quantisers)
        self.compiled = None  # a Compiled, which sees for itself what runs
        self.ops = Ops(self)
        self.forget()

    def forget(self):
        """Start anew."""
        self.attention_ops, self.quantised_ops = Counter(), Counter()
        self.sdpa_calls = self.flex_calls = self.unfused_flex_calls = 0
        self.caches, self.cache_layers = {}, Counter()
        self.left_by_loads = {}  # what a workload says of itself
        self.replays = 0  # of CUDA graphs
        self.ops.counters.clear()

    @contextmanager
    def calls(self, model):
        """Count calls of functions by name and of ops below autograd, and replays of CUDA graphs.

        All ops are seen in the first WATCHED_PASSES forward passes, which is prefill and the first steps
        of decoding; after them only those inside `scaled_dot_product_attention`, because to look at every
        op costs as much as to run it. Of a compiled model none is: under a dispatch mode torch runs the plain one.
        """
        seen = self.plain_calls(model) if self.compiled is None else self.compiled.passes(model)
        with self.graphs_replayed(), seen:
            yield

    @contextmanager
    def graphs_replayed(self):
        """While entered, replays of CUDA graphs are counted, whoever recorded them."""
        usual = torch.cuda.CUDAGraph.replay

        @functools.wraps(usual)
        def replay(graph):
            self.replays += 1
            return usual(graph)

        torch.cuda.CUDAGraph.replay = replay
        try:
            yield
        finally:
            torch.cuda.CUDAGraph.replay = usual

    @contextmanager
    def plain_calls(self, model):
        """The calls of a model that is not compiled as a whole."""
        functional = torch.nn.functional
        attention = functional.scaled_dot_product_attention

        def counted_attention(*args, **kwargs):
            self.sdpa_calls += 1
            with self.ops.once():
                return attention(*args, **kwargs)

        functional.scaled_dot_product_attention = counted_attention
        try:
            with self.passes(model), counting_flex_calls(self.count_flex, self.count_unfused):
                yield
        finally:
            functional.scaled_dot_product_attention = attention

    @contextmanager
    def passes(self, model):
        """While entered, the ops of this model's first forward passes are seen.

        So are those of a part that can generate: some models leave it to theirs, and never call their own forward pass.
        """
        parts = [model, *(part for part in model.modules() if part is not model and hasattr(part, "generate"))]
        with ExitStack() as stack:
            for part in parts:
                stack.enter_context(self.passes_of(part))
            yield

    def passes_of(self, part):
        """The same, of this module alone."""
        passes = count(1)
        return each_pass(part, lambda: self.ops.once() if next(passes) <= WATCHED_PASSES else nullcontext())

    @contextmanager
    def anew(self, model):
        """Within `calls`: forget what was seen, and see this model's passes."""
        self.forget()
        with self.passes(model):
            yield

    def counter_of(self, op):
        """Where calls of an op of that name are counted, or None."""
        if op.startswith(self.quantisers):
            return self.quantised_ops
        if "attention" in op or op.startswith("flash_attn") or op == ENCODER_LAYER_OP:
            return self.attention_ops
        return None

    def count_flex(self):
        """A call of flex_attention."""
        self.flex_calls += 1

    def count_unfused(self):
        """One that ran uncompiled."""
        self.unfused_flex_calls += 1

    @contextmanager
    def cache_of(self, model):
        """While entered, which cache this model's passes are given, of which the last is kept.

        What `generate` gives back may be another: Whisper's makes a new one of its tensors.
        """
        name, last = cache_argument(model), []

        def given(module, args, known):
            if known.get(name) is not None:
                last[:] = [known[name]]

        hook = model.register_forward_pre_hook(given, with_kwargs=True)
        try:
            yield last
        finally:
            hook.remove()

    def cache(self, cache):
        """Keep the class of a cache, of one for encoder and decoder those of its parts too, and what its layers are."""
        if cache is None:
            return
        parts = [getattr(cache, name, None) for name in ("self_attention_cache", "cross_attention_cache")]
        inner = ", ".join(type(part).__name__ for part in parts if part is not None)
        self.caches[f"{type(cache).__name__}({inner})" if inner else type(cache).__name__] = None
        for whole in [part for part in parts if part is not None] or [cache]:
            self.cache_layers.update(said_of_layer(layer) for layer in getattr(whole, "layers", ()))


def said_of_layer(layer):
    """The class of a cache's layer; where it holds keys their dtype and device, the tokens and the slots for them."""
    keys = getattr(layer, "keys", None)
    if not isinstance(keys, torch.Tensor):
        return type(layer).__name__
    rounded = getattr(layer, "_quantized_keys", None)
    codes = rounded[0] if isinstance(rounded, tuple) else getattr(rounded, "_data", keys)
    dtype, held = str(codes.dtype).removeprefix("torch."), int(layer.get_seq_length())
    slots = keys.shape[-2] if rounded is None and keys.dim() > 1 else held
    return f"{type(layer).__name__}: {dtype} on {codes.device.type}, {held} tokens, {slots} slots"


@contextmanager
def each_pass(model, around):
    """While entered, every forward pass of the model runs within what `around()` gives."""
    forward, own = model.forward, "forward" in vars(model)

    @functools.wraps(forward)
    def watched(*args, **kwargs):
        with around():
            return forward(*args, **kwargs)

    model.forward = watched
    try:
        yield
    finally:
        if own:
            model.forward = forward
        else:  # torch would compile once more what was compiled of a model without one of its own
            del model.forward


class Ops(TorchDispatchMode):
    """Sees every op by name."""

    # Without this torch refuses to run an op that takes ops under a mode, and who asks for one takes another way.
    supports_higher_order_operators = True

    def __init__(self, watch):
        super().__init__()
        self.counters = {}
        self.watch = watch
        self.entered = False

    @contextmanager
    def once(self):
        """Enter the mode, unless it is entered already: ops would be counted twice."""
        if self.entered:
            yield
            return
        self.entered = True
        try:
            with self:
                yield
        finally:
            self.entered = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if isinstance(func, HigherOrderOperator):
            within = func.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd, func)
            with self if within is not func else nullcontext():  # what it runs is seen
                return within(*args, **(kwargs or {}))
        if func not in self.counters:
            name = func._schema.name
            counter = self.watch.counter_of(name)
            self.counters[func] = None if counter is None else (counter, name)
        found, seen = func(*args, **(kwargs or {})), self.counters[func]
        if seen is not None:  # what raised did not run: who asked may compute something else
            seen[0][seen[1]] += 1
        return found
