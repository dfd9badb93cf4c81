"""T5 converted by BetterTransformer divides its scores by the root of the head size, which T5 must not.

optimum's `t5_forward` for transformers >= 4.46 calls scaled_dot_product_attention with its default scale. The one for
older releases multiplied the queries by `self.scale` first, which undid the division. With scale=1 all is right.
"""

import functools

import torch
import transformers
from torch.nn import functional as F

SMALL = {"vocab_size": 256, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
config = transformers.T5Config(**SMALL, decoder_start_token_id=0)
model = transformers.T5ForConditionalGeneration._from_config(config, attn_implementation="eager").double().eval()
for name, parameter in model.named_parameters():
    if name.endswith((".q.weight", ".k.weight")):
        torch.nn.init.normal_(parameter, std=0.1)
tokens = torch.randint(4, 256, (2, 48))
attention, off = F.scaled_dot_product_attention, {}
with torch.no_grad():
    truth = model(input_ids=tokens, decoder_input_ids=tokens).logits
    try:
        model = model.to_bettertransformer()
    except (AttributeError, ImportError, RuntimeError) as error:
        print("no BetterTransformer in this release:", error)
        raise SystemExit(2 * isinstance(error, ImportError)) from None  # optimum is missing
    for name, used in (("as converted", attention), ("with scale=1", functools.partial(attention, scale=1.0))):
        F.scaled_dot_product_attention = used
        off[name] = float((model(input_ids=tokens, decoder_input_ids=tokens).logits - truth).abs().max())
        print(f"{name}: expected the logits of eager, max difference {off[name]:.3g}")
raise SystemExit(off["as converted"] > 1e-3)
