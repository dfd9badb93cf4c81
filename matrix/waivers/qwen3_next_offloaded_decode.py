"""Qwen3-Next with offloaded layers: prefill is right, decoding gives garbage or NaN.

A decoding step of the linear attention reads conv1d.weight without calling conv1d, so that accelerate's hook does not
bring the weight in. Seen with 4.57.6 to 5.12.1; 5.13.1 calls a helper that does.
"""

import tempfile

import torch
import transformers

try:
    from transformers import Qwen3NextConfig, Qwen3NextForCausalLM
except ImportError as error:
    print("transformers", transformers.__version__, "not in this release:", error)
    raise SystemExit(0) from None

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4}
ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "linear_num_key_heads": 2}
LINEAR = {"linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16}
PLACES = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
PLACES |= {f"model.layers.{index}": "cpu" if index else "disk" for index in range(4)}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(4, 256, (1, 20))
with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as offloaded, torch.no_grad():
    config = Qwen3NextConfig(**SMALL, **ATTENTION, **LINEAR, mlp_only_layers=[0, 1, 2, 3], initializer_range=0.2)
    Qwen3NextForCausalLM(config).save_pretrained(folder)
    plain = Qwen3NextForCausalLM.from_pretrained(folder).eval()
    model = Qwen3NextForCausalLM.from_pretrained(folder, device_map=PLACES, offload_folder=offloaded).eval()
    wrong, expected_cache, cache = False, None, None
    for chunk in tokens.split([16, 1, 1, 1, 1], dim=1):
        expected = plain(chunk, past_key_values=expected_cache, use_cache=True)
        seen = model(chunk, past_key_values=cache, use_cache=True)
        expected_cache, cache = expected.past_key_values, seen.past_key_values
        off = float((expected.logits - seen.logits)[:, -1].abs().max())
        print(f"{chunk.shape[1]:2} tokens: expected the logits without offloading, off by {off:.3g}")
        wrong |= not off < 1e-3  # NaN is wrong, too
raise SystemExit(wrong)
