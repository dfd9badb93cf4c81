"""What BetterTransformer cannot do is refused by some of its layers and by others not.

OPT raises the documented ValueError for a head mask and for output_attentions=True. A converted BERT ignores the one
and dies of the other, CodeGen gives None for each layer, and a BERT with pruned heads is converted and then dies.
"""

import torch
import transformers
from transformers import BertConfig, BertForMaskedLM, CodeGenConfig, CodeGenForCausalLM, OPTConfig, OPTForCausalLM

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
BERT = (BertForMaskedLM, BertConfig(**SMALL, intermediate_size=128, initializer_range=0.2))
PRUNED = (BertForMaskedLM, BertConfig(**SMALL, intermediate_size=128, pruned_heads={0: [0, 1]}))
OPT = (OPTForCausalLM, OPTConfig(**SMALL, ffn_dim=128, word_embed_proj_dim=64))
CODEGEN = (CodeGenForCausalLM, CodeGenConfig(vocab_size=256, n_embd=64, n_layer=2, n_head=4, rotary_dim=8))
MASK = torch.ones(2, 4)
MASK[0, 0] = 0


def main():
    """Try each and print the answer."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    tokens = torch.randint(4, 256, (2, 24), generator=torch.Generator().manual_seed(0))
    for what, (model_class, config), arguments in (
        ("head mask", OPT, {"head_mask": MASK}),
        ("head mask", BERT, {"head_mask": MASK}),
        ("output_attentions", OPT, {"output_attentions": True}),
        ("output_attentions", BERT, {"output_attentions": True}),
        ("output_attentions", CODEGEN, {"output_attentions": True}),
        ("pruned heads", PRUNED, {}),
    ):
        torch.manual_seed(0)
        model = model_class._from_config(config, attn_implementation="eager").eval()
        with torch.no_grad():
            truth = model(tokens, **arguments).logits
            try:
                found = model.to_bettertransformer()(tokens, **arguments)
                said = f"max difference to eager {(found.logits - truth).abs().max().item():.3g}"
                said += f", attentions {found.attentions}" if "output_attentions" in arguments else ""
                fault = True
            except Exception as error:
                said, fault = f"{type(error).__name__}: {error}", not isinstance(error, ValueError)
        print(f"{model_class.__name__}, {what}: {said}{' FAULT' if fault else ''}")


if __name__ == "__main__":
    main()
