"""DeepSeek-V4 raises when loaded in bfloat16: its norms keep their weight in float32 and hand on float32.

`_keep_in_fp32_modules_strict` holds the norms, and `DeepseekV4RMSNorm` casts before it multiplies by its weight.
transformers 5.23 casts after.
"""

import tempfile

import torch
import transformers

try:
    from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4ForCausalLM, DeepseekV4RMSNorm
except ImportError as error:
    print("transformers", transformers.__version__, "not in this release:", error)
    raise SystemExit(0) from None

SIZES = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 32}
EXPERTS = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "max_position_embeddings": 64}
LATENT = {"q_lora_rank": 32, "o_lora_rank": 16, "o_groups": 2, "index_head_dim": 16, "index_n_heads": 2}

torch.manual_seed(0)
torch.set_grad_enabled(False)
print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder:
    DeepseekV4ForCausalLM(transformers.DeepseekV4Config(**SIZES, **EXPERTS, **LATENT)).save_pretrained(folder)
    model = DeepseekV4ForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
norm = next(one for one in model.modules() if isinstance(one, DeepseekV4RMSNorm))
seen = norm(torch.ones(1, 1, norm.weight.shape[0], dtype=torch.bfloat16)).dtype
print(f"a norm with a weight in {norm.weight.dtype}: expected torch.bfloat16 of torch.bfloat16, seen {seen}")
try:
    print("logits in", model(torch.randint(4, 64, (2, 16))).logits.dtype)
except RuntimeError as error:
    raise SystemExit(f"{type(error).__name__}: {str(error)[:150]}") from error
