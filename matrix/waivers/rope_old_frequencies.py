"""Dynamic NTK and LongRoPE: keys in the cache keep the frequencies of the length at which they came.

Beyond the limit of 32 tokens the frequencies change, and decoding is no longer what one pass over the text gives.
YaRN and Llama 3 stretch theirs from the first token on.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
LIMIT = {"original_max_position_embeddings": 32}
ROPE = {
    "dynamic": {},
    "longrope": {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8, **LIMIT},
    "yarn": LIMIT,
    "llama3": {"low_freq_factor": 1.0, "high_freq_factor": 4.0, **LIMIT},
}
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(4, 256, (1, 60), generator=torch.Generator().manual_seed(1))
wrong = 0
for kind, known in ROPE.items():
    rope = {"rope_type": kind, "factor": 4.0, "rope_theta": 10000.0, **known}
    longest = 32 if kind == "dynamic" else 128
    heads = {"num_attention_heads": 4, "max_position_embeddings": longest, "rope_parameters": rope}
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, **heads, initializer_range=0.2)).eval()
    with torch.no_grad():
        output = model(tokens[:, :30], use_cache=True)
        for place in range(30, 60):
            output = model(tokens[:, place : place + 1], past_key_values=output.past_key_values, use_cache=True)
        whole = model(tokens, use_cache=False).logits[:, -1]
    off = float((output.logits[:, -1] - whole).abs().max())
    print(f"{kind}: expected the last logits as of one pass, off by {off:.3g} of a spread of {float(whole.std()):.3g}")
    wrong += off > 1e-3
raise SystemExit(wrong > 0)
