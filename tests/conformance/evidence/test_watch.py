"""What a model does is seen, whoever of its parts does it."""

import pytest
import torch
import transformers
from torch._higher_order_ops.out_dtype import out_dtype

from conformance.evidence.watch import Watch

SIZES = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


class Delegating(torch.nn.Module):
    """Generates with a part, as InstructBLIP does, and never calls its own forward pass."""

    def __init__(self, part: torch.nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self) -> None:
        """Never called."""
        raise AssertionError

    def generate(self, tokens: torch.Tensor) -> torch.Tensor:
        """Leave it to the part."""
        return self.part(tokens).logits


def test_the_passes_of_a_part_that_generates_are_seen() -> None:
    config = transformers.LlamaConfig(**SIZES)
    model = Delegating(transformers.LlamaForCausalLM._from_config(config, attn_implementation="sdpa").eval())
    watch, usual = Watch(quantisers=("aten",)), model.part.forward
    with torch.no_grad(), watch.calls(model):
        model.generate(torch.arange(4, 12)[None])
    assert watch.sdpa_calls == 1
    assert watch.quantised_ops["aten::mul"]  # of a layer, not of attention, inside which all ops are seen anyway
    assert model.part.forward == usual


def test_the_cache_is_the_one_that_passes_are_given_whatever_generate_gives_back() -> None:
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).eval()
    watch, tokens = Watch(), torch.arange(4, 12)[None]
    with torch.no_grad(), watch.cache_of(model) as used:
        known = model.generate(tokens, max_new_tokens=2, cache_implementation="static", return_dict_in_generate=True)
    assert used[0] is known.past_key_values
    with watch.cache_of(model) as used:
        model(tokens, use_cache=False)
    assert not used
    assert not model._forward_pre_hooks


def test_an_op_that_takes_ops_runs_as_it_would_unwatched_and_what_it_runs_is_seen() -> None:
    # torchao multiplies int8 by int8 so, and in floats where torch refuses it.
    left, right = (torch.randint(-9, 9, (4, 4), dtype=torch.int8) for _ in range(2))
    watch = Watch(quantisers=("aten::mm",))
    with watch.ops.once():
        found = out_dtype(torch.ops.aten.mm.default, torch.int32, left, right)
    assert found.dtype is torch.int32
    assert found.equal(left.int() @ right.int())
    assert watch.quantised_ops == {"aten::mm": 1}


def test_an_op_that_raises_did_not_run() -> None:
    watch = Watch(quantisers=("aten::mm",))
    with watch.ops.once(), pytest.raises(RuntimeError):
        torch.mm(torch.ones(2, 3), torch.ones(2, 3))
    assert not watch.quantised_ops
