"""BetterTransformer does not notice a model in int8: it asks the linear layers for an attribute that they have not.

Needs bitsandbytes. OPT is converted, BERT dies of its integer weights instead of the documented ValueError.
"""

import bitsandbytes
import torch
import transformers
from transformers import BertConfig, BertForMaskedLM, OPTConfig, OPTForCausalLM

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
MODELS = (
    (OPTForCausalLM, OPTConfig(**SMALL, ffn_dim=128, word_embed_proj_dim=64)),
    (BertForMaskedLM, BertConfig(**SMALL, intermediate_size=128)),
)


def in_int8(model):
    """The model with all linear layers but those of the head in int8."""
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and not name.startswith(("lm_head", "cls")):
            layer = bitsandbytes.nn.Linear8bitLt(module.in_features, module.out_features, has_fp16_weights=False)
            layer.load_state_dict(module.state_dict())
            owner, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(owner), attribute, layer)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def main():
    """Convert each and print where SCB is, and what came of it."""
    print("torch", torch.__version__, "transformers", transformers.__version__, "bnb", bitsandbytes.__version__)
    for model_class, config in MODELS:
        torch.manual_seed(0)
        model = in_int8(model_class._from_config(config, attn_implementation="eager").eval())
        layer = next(module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear8bitLt))
        print("the layer has SCB:", hasattr(layer, "SCB"), "its weight has:", hasattr(layer.weight, "SCB"))
        try:
            model.to_bettertransformer()
            print(f"{model_class.__name__}: FAULT: converted")
        except ValueError as error:
            print(f"{model_class.__name__}: refused: {error}")
        except RuntimeError as error:
            print(f"{model_class.__name__}: FAULT: RuntimeError: {error}")


if __name__ == "__main__":
    main()
