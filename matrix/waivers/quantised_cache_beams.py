"""Beam search with a quantised cache raises: it reorders the tokens that wait to be quantised, and there are none.

After a prefill all keys are quantised, and `CacheLayerMixin.reorder_cache` chooses rows of an empty tensor: an
IndexError on a CPU, a device-side assert on a GPU. Had there been any, the quantised rows would have stayed in the old
order. Seen with transformers 5.17.0; 5.24.0 is right. The layer here rounds nothing: no package of a backend is needed.
"""

import torch
import transformers
from transformers.cache_utils import QuantizedLayer


class Kept(QuantizedLayer):
    """Quantises to what was given."""

    def _quantize(self, tensor, axis):
        return tensor.clone()

    def _dequantize(self, q_tensor):
        return q_tensor


torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
small = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
config = transformers.LlamaConfig(num_attention_heads=4, num_key_value_heads=2, initializer_range=0.2, **small)
model, tokens = transformers.LlamaForCausalLM(config).eval(), torch.randint(4, 256, (2, 20))
given = {"num_beams": 3, "max_new_tokens": 24, "min_new_tokens": 24, "do_sample": False, "pad_token_id": 0}
given["attention_mask"] = torch.ones_like(tokens)
expected = model.generate(tokens, **given)
try:
    cache = transformers.Cache(layers=[Kept(residual_length=8) for _ in range(2)])
    seen = model.generate(tokens, past_key_values=cache, **given)
except IndexError as error:
    raise SystemExit(f"FAULT: IndexError: {error}") from None
print(f"expected the beams of a usual cache, seen {int((seen == expected).sum())} of {expected.numel()} tokens alike")
raise SystemExit(not bool((seen == expected).all()))
