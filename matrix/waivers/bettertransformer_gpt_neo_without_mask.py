"""GPT-Neo converted by BetterTransformer dies of a batch without attention_mask.

transformers >= 4.45 makes the causal mask itself, for one key more than there are if no attention_mask is given.
GPTNeoSelfAttention cuts it to the number of keys; optimum's replacement adds it to a mask of the right length.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 64}

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
config = transformers.GPTNeoConfig(**SMALL, attention_types=[[["global", "local"], 1]])
model = transformers.GPTNeoForCausalLM._from_config(config, attn_implementation="eager").eval()
tokens = torch.randint(4, 256, (2, 24))
with torch.no_grad():
    truth = model(tokens).logits
    try:
        model = model.to_bettertransformer()
    except (AttributeError, ImportError, RuntimeError) as error:
        print("no BetterTransformer in this release:", error)
        raise SystemExit(2 * isinstance(error, ImportError)) from None  # optimum is missing
    for name, mask in (("mask of ones", torch.ones_like(tokens)), ("no mask", None)):
        try:
            off = float((model(tokens, attention_mask=mask).logits - truth).abs().max())
            print(f"{name}: expected the logits of before, max difference {off:.3g}")
            wrong |= off > 1e-4
        except RuntimeError as error:
            print(f"{name}: expected the logits of before, FAULT: {error}")
            wrong = True
raise SystemExit(wrong)
