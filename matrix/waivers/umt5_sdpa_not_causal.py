"""UMT5 with SDPA sees the future: decoder logits before the last token change with it.

UMT5LayerSelfAttention makes its UMT5Attention without `is_causal`, which is False by default; without padding there is
no mask either, for SDPA is trusted to be causal by itself. `modeling_umt5.py`, UMT5LayerSelfAttention.__init__.
Seen with transformers 5.17.0; T5, MT5, UDOP and Pop2Piano pass `is_causal=config.is_decoder`.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}

print("torch", torch.__version__, "transformers", transformers.__version__)
made = torch.Generator().manual_seed(0)
source, target = (torch.randint(4, 256, (2, 12), generator=made) for _ in range(2))
changed = target.clone()
changed[:, -1] = (target[:, -1] + 17) % 200 + 4
found = {}
for attention in ("eager", "sdpa"):
    torch.manual_seed(0)
    try:
        config = transformers.UMT5Config(**SIZES, initializer_factor=3.0)
        model = transformers.UMT5ForConditionalGeneration._from_config(config, attn_implementation=attention).eval()
    except ValueError as error:  # releases whose UMT5 has no SDPA
        print(error)
        raise SystemExit(0) from None
    with torch.no_grad():
        logits = model(input_ids=source, decoder_input_ids=target).logits
        moved = float((logits - model(input_ids=source, decoder_input_ids=changed).logits)[:, :-1].abs().max())
    found[attention] = (logits, moved)
    print(f"{attention}: logits before the last token move with it by {moved:.3g}")
off, spread = float((found["eager"][0] - found["sdpa"][0]).abs().max()), float(found["eager"][0].std())
print(f"expected the logits of eager, SDPA is off by {off:.3g} where they spread by {spread:.3g}")
if found["sdpa"][1] > 1e-3 * spread:
    raise SystemExit(f"FAULT: not causal, off by {off:.3g}")
print("OK")
