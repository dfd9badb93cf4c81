"""Offloaded caches of which something is read that waits in the memory of the CPU: an error about devices.

Falcon-H1 with beams: the states of a recurrence are reordered by an index on the GPU. Zamba2: attention sends the layer
away before its recurrence has run. RecurrentGemma: an empty layer is brought back, and not the one with attention. T5:
the keys of the encoder's output are read past `Cache.update`. Llama shows what is right. Needs a GPU.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 128}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
MAMBA = {"mamba_d_ssm": 128, "mamba_n_heads": 16, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
ZAMBA = {"n_mamba_heads": 16, "mamba_headdim": 8, "layers_block_type": ["mamba", "hybrid", "mamba"]}
MODELS = {
    "llama": HEADS,
    "falcon_h1": HEADS | MAMBA | {"head_dim": 16},
    "zamba2": HEADS | ZAMBA,
    "recurrent_gemma": {"num_attention_heads": 2, "num_key_value_heads": 1, "lru_width": 64},
    "t5": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
}
print("torch", torch.__version__, "transformers", transformers.__version__, "expected: nothing raised")
if not torch.cuda.is_available():
    print("cannot tell without a GPU")
    raise SystemExit(2)
wrong = False
for model_type, sizes in MODELS.items():
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **(sizes if model_type == "t5" else SMALL | sizes))
    auto = transformers.AutoModelForSeq2SeqLM if model_type == "t5" else transformers.AutoModelForCausalLM
    model, tokens = auto.from_config(config).cuda().eval(), torch.randint(4, 256, (2, 20), device="cuda")
    try:
        model.generate(tokens, cache_implementation="offloaded", num_beams=2, max_new_tokens=8, pad_token_id=0)
        print(f"{model_type}: nothing raised")
    except RuntimeError as error:
        print(f"{model_type}: {str(error).splitlines()[0]}")
        wrong = True
raise SystemExit(wrong)
