"""OPT with FlashAttention-2, converted by BetterTransformer: nothing is refused, and FlashAttention-2 goes on.

transformers 4.48.3 has an error for it ("Flash Attention 2 and BetterTransformer API are not compatible"), which is
raised at the load of a class whose `use_bettertransformer` is set: optimum sets it on the converted model alone.
Needs a GPU and flash-attn. Prints the attention ops that ran, and whether the logits are bitwise those from before.
"""

import tempfile

import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

SMALL = {"vocab_size": 256, "hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


class Seen(TorchDispatchMode):
    """Keeps the names of attention ops."""

    names = ()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "attention" in func._schema.name or func._schema.name.startswith("flash_attn"):
            Seen.names = {*Seen.names, func._schema.name}
        return func(*args, **(kwargs or {}))


torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder:
    transformers.OPTForCausalLM(transformers.OPTConfig(word_embed_proj_dim=64, **SMALL)).save_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, torch_dtype=torch.float16, attn_implementation="flash_attention_2"
    )
model = model.cuda().eval()
tokens = torch.randint(4, 256, (2, 32), device="cuda")
with torch.no_grad():
    before = model(tokens).logits
    converted = model.to_bettertransformer()
    with Seen():
        after = converted(tokens).logits
print("ran:", sorted(Seen.names), "bitwise the same:", torch.equal(before, after))
