"""What BetterTransformer cannot do is refused by some of its layers and by others not.

OPT raises the documented ValueError for a head mask, and for output_attentions=True, too. A converted BERT ignores the
one and dies of the other, CodeGen gives None for each layer, and a BERT with pruned heads is converted and then dies.
"""

import torch
import transformers
from transformers import BertConfig, BertForMaskedLM, CodeGenConfig, CodeGenForCausalLM, OPTConfig, OPTForCausalLM

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
BERT = (BertForMaskedLM, BertConfig(**SMALL, intermediate_size=128, initializer_range=0.2))
PRUNED = (BertForMaskedLM, BertConfig(**SMALL, intermediate_size=128, pruned_heads={0: [0, 1]}))
OPT = (OPTForCausalLM, OPTConfig(**SMALL, ffn_dim=128, word_embed_proj_dim=64))
CODEGEN = (CodeGenForCausalLM, CodeGenConfig(vocab_size=256, n_embd=64, n_layer=2, n_head=4, rotary_dim=8))
HEAD_MASK = {"head_mask": torch.tensor([[0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])}
ATTENTIONS = {"output_attentions": True}
CASES = ((OPT, HEAD_MASK), (BERT, HEAD_MASK), (BERT, ATTENTIONS), (CODEGEN, ATTENTIONS), (PRUNED, {}))

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__)
try:
    import optimum.bettertransformer  # noqa: F401
except (ImportError, RuntimeError) as error:
    raise SystemExit(print("no BetterTransformer here:", error) or 2 * (transformers.__version__ < "4.49")) from None
tokens = torch.randint(4, 256, (2, 24))
for (model_class, config), arguments in CASES:
    torch.manual_seed(0)
    model = model_class._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        expected = model(tokens, **arguments).logits
        try:
            seen = model.to_bettertransformer()(tokens, **arguments)
            said = f"logits off by {float((seen.logits - expected).abs().max()):.3g}, attentions {seen.attentions}"
            wrong = True
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            wrong |= not isinstance(error, ValueError)
    print(f"{model_class.__name__}, {next(iter(arguments), 'pruned heads')}: expected a ValueError, got {said}")
raise SystemExit(wrong)
