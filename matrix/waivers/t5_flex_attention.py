"""T5 with flex_attention reads its position bias out of bounds for every batch of more than one row.

T5Attention hands flex_attention_forward a position_bias of shape (1, heads, queries, keys), and score_mod indexes it
with `position_bias[batch_idx, head_idx, q_idx, kv_idx]`: row 1 lies past its end. On a CPU inductor's bounds check
raises. A compiled CUDA kernel has no such check and happens to read the right value; but once torch has recompiled
too often in one process it runs flex_attention uncompiled, and that dies of a device-side assert.
"""

import torch
import transformers
from transformers import T5ForConditionalGeneration

SMALL = {"vocab_size": 256, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__)
config, models = transformers.T5Config(**SMALL, decoder_start_token_id=0), {}
device = "cuda" if torch.cuda.is_available() else "cpu"
for attention in ("eager", "flex_attention"):
    torch.manual_seed(0)
    try:
        model = T5ForConditionalGeneration._from_config(config, attn_implementation=attention)
    except ValueError as error:
        print("not in this release:", str(error).partition(".")[0])
        raise SystemExit(0) from None
    models[attention] = model.to(device).eval()
for rows, stance in ((1, "default"), (2, "default"), (2, "force_eager")):
    torch.compiler.set_stance(stance)
    tokens = torch.randint(4, 256, (rows, 48), device=device)
    with torch.no_grad():
        truth = models["eager"](input_ids=tokens, decoder_input_ids=tokens).logits
        try:
            off = (models["flex_attention"](input_ids=tokens, decoder_input_ids=tokens).logits - truth).abs().max()
            wrong |= float(off) > 1e-3
            print(f"batch of {rows}, {stance}: expected the logits of eager, max difference {float(off):.3g}")
        except (RuntimeError, IndexError) as error:
            print(f"batch of {rows}, {stance}: expected the logits of eager, FAULT: {str(error)[:100]}")
            wrong = True
raise SystemExit(wrong)
