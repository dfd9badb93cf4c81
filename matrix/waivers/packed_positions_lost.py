"""Two documents in one row, told apart by position_ids, which never reach the mask: the later sees the earlier.

OPT and RemBERT make their masks without them, and so does Falcon up to 5.23.0; those of GPT-1 and XLM are triangles of
their own. Bloom, Mamba and Mamba-2 do not take them: they go into `**kwargs` and are lost. GPT-2 shows what is right.
Seen with transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2}
MODELS = {
    "gpt2": {"vocab_size": 256, "n_embd": 64, "n_layer": 2, "n_head": 4},
    "opt": SMALL | {"ffn_dim": 128, "num_attention_heads": 4, "word_embed_proj_dim": 64, "init_std": 0.2},
    "falcon": SMALL | {"num_attention_heads": 4},
    "bloom": {"vocab_size": 256, "hidden_size": 64, "n_layer": 2, "n_head": 4},
    "rembert": SMALL | {"num_attention_heads": 4, "intermediate_size": 128, "is_decoder": True},
    "openai-gpt": {"vocab_size": 256, "n_embd": 64, "n_layer": 2, "n_head": 4},
    "xlm": {"vocab_size": 256, "emb_dim": 64, "n_layers": 2, "n_heads": 4, "causal": True, "embed_init_std": 0.2},
    "mamba": SMALL,
    "mamba2": SMALL | {"num_heads": 16, "head_dim": 8},
}

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__, "expected: each document as it is alone")
for model_type, sizes in MODELS.items():
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, initializer_range=0.2, **sizes)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    one, other = torch.randint(4, 256, (1, 12)), torch.randint(4, 256, (1, 9))
    positions = torch.cat([torch.arange(12), torch.arange(9)])[None]
    with torch.no_grad():
        alone = model(other, use_cache=False).logits
        packed = model(torch.cat([one, other], 1), position_ids=positions, use_cache=False).logits[:, 12:]
    print(f"{model_type}: off by {(packed - alone).abs().max():.2g} where they spread by {alone.std():.2g}")
    wrong |= bool((packed - alone).abs().max() > 1e-3)
raise SystemExit(wrong)
