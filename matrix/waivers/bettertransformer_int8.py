"""BetterTransformer does not notice a model in int8: it asks the linear layers for an attribute that they have not.

Needs bitsandbytes. OPT is converted, BERT dies of its integer weights instead of the documented ValueError.
"""

import bitsandbytes
import torch
import transformers
from transformers import BertConfig, BertForMaskedLM, OPTConfig, OPTForCausalLM

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__, "bnb", bitsandbytes.__version__)
try:
    import optimum.bettertransformer  # noqa: F401
except (ImportError, RuntimeError) as error:
    raise SystemExit(print("no BetterTransformer here:", error) or 2 * (transformers.__version__ < "4.49")) from None
for model_class, config in (
    (OPTForCausalLM, OPTConfig(**SMALL, ffn_dim=128, word_embed_proj_dim=64)),
    (BertForMaskedLM, BertConfig(**SMALL, intermediate_size=128)),
):
    model = model_class._from_config(config, attn_implementation="eager").eval()
    for name, module in list(model.base_model.named_modules()):
        if isinstance(module, torch.nn.Linear):
            layer = bitsandbytes.nn.Linear8bitLt(module.in_features, module.out_features, has_fp16_weights=False)
            layer.load_state_dict(module.state_dict())
            model.base_model.set_submodule(name, layer)
    model = model.to(DEVICE)
    print("the layer has SCB:", hasattr(layer, "SCB"), "its weight has:", hasattr(layer.weight, "SCB"))
    said = "a converted model"
    try:
        model.to_bettertransformer()
    except (ValueError, RuntimeError) as error:
        said = f"{type(error).__name__}: {error}"
    print(f"{model_class.__name__}: expected a ValueError, got {said}")
    wrong |= not said.startswith("ValueError")
raise SystemExit(wrong)
