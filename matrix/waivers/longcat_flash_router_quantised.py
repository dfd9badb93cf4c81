"""LongCat-Flash in 4 bits: the router reads the packed bytes of a layer that should not have been quantised.

`_keep_in_fp32_modules = ["classifier.weight"]` names a parameter, bitsandbytes leaves modules out: `classifier` is a
Linear4bit, and the router hands its weight to F.linear. Sizes are such that bitsandbytes' CPU kernel takes them.
"""

import tempfile

import torch
import transformers

SIZES = {"vocab_size": 64, "hidden_size": 64, "num_layers": 1, "num_attention_heads": 4, "ffn_hidden_size": 128}
LATENT = {
    "q_lora_rank": 64,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 32,
    "v_head_dim": 32,
    "head_dim": 32,
}
EXPERTS = {"n_routed_experts": 8, "zero_expert_num": 4, "moe_topk": 2, "expert_ffn_hidden_size": 64}

torch.manual_seed(0)
torch.set_grad_enabled(False)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "LongcatFlashConfig"):
    print("LongCat-Flash is not in this release")
    raise SystemExit(0)
with tempfile.TemporaryDirectory() as folder:
    config = transformers.LongcatFlashConfig(**SIZES, **LATENT, **EXPERTS)
    transformers.LongcatFlashForCausalLM(config).save_pretrained(folder)
    asked = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    given = {"quantization_config": asked, "dtype": torch.bfloat16}
    model = transformers.LongcatFlashForCausalLM.from_pretrained(folder, **given).eval()
layer = model.model.layers[0].mlp.router.classifier
print(f"classifier: expected Linear, seen {type(layer).__name__} with a weight of {tuple(layer.weight.shape)}")
try:
    print("logits of", tuple(model(torch.arange(4, 20, device=model.device)[None]).logits.shape))
except RuntimeError as error:
    raise SystemExit(f"{type(error).__name__}: {str(error)[:150]}") from error
