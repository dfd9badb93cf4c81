"""DeepSeek-V3 and its like by generate_batch: every request fails, and nothing is raised.

The pages of continuous batching are made for `config.head_dim`, which is that of the rotated part alone, and for as
many heads as the config says; what multi-head latent attention keeps is of another shape.
"""

import logging

import torch
import transformers
from transformers.generation import ContinuousBatchingConfig

logging.disable(logging.CRITICAL)
print("torch", torch.__version__, "transformers", transformers.__version__)
SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 16}
HEADS |= {"qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16, "first_k_dense_replace": 2}
torch.manual_seed(0)
config = transformers.DeepseekV3Config(**SIZES, **HEADS, initializer_range=0.2)
model = transformers.DeepseekV3ForCausalLM._from_config(config, attn_implementation="eager").eval()
prompts = torch.randint(4, 256, (2, 12))
asked = transformers.GenerationConfig(max_new_tokens=8, do_sample=False, eos_token_id=-1, pad_token_id=0)
room = ContinuousBatchingConfig(num_blocks=8, page_size=16, max_batch_tokens=32)
wanted = model.generate(prompts, attention_mask=torch.ones_like(prompts), generation_config=asked)[:, 12:].tolist()
answers = model.generate_batch(
    inputs=prompts.tolist(), generation_config=asked, continuous_batching_config=room, warmup=False
).values()
found = [answer.generated_tokens for answer in answers]
right = sum(a == b for one, row in zip(found, wanted, strict=True) for a, b in zip(one, row, strict=False))
print(f"expected 16 of 16 tokens as generate gives them, seen {right}; errors { {answer.error for answer in answers} }")
raise SystemExit(right < 16)
