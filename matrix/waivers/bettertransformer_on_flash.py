"""OPT with FlashAttention-2, converted by BetterTransformer: nothing is refused, and FlashAttention-2 goes on.

transformers 4.48.3 has an error for it ("Flash Attention 2 and BetterTransformer API are not compatible"), which is
raised at the load of a class whose `use_bettertransformer` is set: optimum sets it on the converted model alone.
Needs a GPU and flash-attn.
"""

import torch
import transformers
from transformers.utils import is_flash_attn_2_available

SMALL = {"vocab_size": 256, "hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 2, "num_attention_heads": 4}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers.PreTrainedModel, "to_bettertransformer"):
    raise SystemExit(print("BetterTransformer is not in this release"))
if not is_flash_attn_2_available():
    print("cannot tell without a GPU and flash-attn")
    raise SystemExit(2)
model = transformers.AutoModelForCausalLM.from_config(
    transformers.OPTConfig(**SMALL, word_embed_proj_dim=64),
    attn_implementation="flash_attention_2",
    torch_dtype=torch.float16,
)
model = model.to("cuda").eval()
tokens = torch.randint(4, 256, (2, 32), device="cuda")
with torch.no_grad():
    before = model(tokens).logits
    try:
        model = model.to_bettertransformer()
    except ValueError as error:
        print(f"expected an error, got {error}")
        raise SystemExit(0) from None
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        after = model(tokens).logits
ran = sorted({event.key for event in profile.key_averages() if "attention" in event.key or "flash" in event.key})
same = torch.equal(before, after)
print(f"expected an error or scaled_dot_product_attention, ran {ran}; logits are bitwise the same: {same}")
raise SystemExit("aten::scaled_dot_product_attention" not in ran)
