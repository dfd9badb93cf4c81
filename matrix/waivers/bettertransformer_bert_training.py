"""BERT converted by BetterTransformer computes something else in training mode than the original does.

Its layers then call F.layer_norm without an eps, which is torch's 1e-5 and not the config's 1e-12, and they drop the
padding mask. In eval mode both are right.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

print("torch", torch.__version__, "transformers", transformers.__version__)
try:
    import optimum.bettertransformer  # noqa: F401
except (ImportError, RuntimeError) as error:
    raise SystemExit(print("no BetterTransformer here:", error) or 2 * (transformers.__version__ < "4.49")) from None
tokens = torch.randint(4, 256, (2, 24), generator=torch.Generator().manual_seed(0))
ones = torch.ones_like(tokens)
padded = (torch.arange(24)[None] < torch.tensor([[24], [9]])).long()
wrong = False
for training, eps, mask in (
    (False, 1e-12, padded),
    (True, 1e-5, ones),
    (True, 1e-12, ones),
    (True, 1e-5, padded),
):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        **SIZES, **NO_DROPOUT, num_attention_heads=4, initializer_range=0.2, layer_norm_eps=eps
    )
    model = transformers.BertForMaskedLM._from_config(config, attn_implementation="eager").double().train(training)
    with torch.no_grad():
        expected = model(tokens, attention_mask=mask).logits
        seen = model.to_bettertransformer().train(training)(tokens, attention_mask=mask).logits
    off = float((seen - expected)[mask.bool()].abs().max())
    name = f"{'train' if training else 'eval'}, eps {eps}, {'no padding' if mask is ones else 'right padding'}"
    print(f"{name}: expected the logits of before, off by {off:.3g}")
    wrong |= off > 1e-9
raise SystemExit(wrong)
