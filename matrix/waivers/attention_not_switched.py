"""`set_attn_implementation` changes nothing but a warning for classes with an attention of their own.

`PreTrainedModel._can_set_attn_implementation` is False for them. Seen with transformers 5.23.0 for Falcon, whose
numbers are others with ALiBi, and with 4.57.6 for BERT, too.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "Falcon": lambda: transformers.FalconConfig(**SIZES),
    "Falcon with ALiBi": lambda: transformers.FalconConfig(**SIZES, alibi=True, multi_query=False),
    "BERT": lambda: transformers.BertConfig(**SIZES),
}

wrong = False
tokens = torch.randint(0, 256, (2, 20))
for name, config in CONFIGS.items():
    auto_class = transformers.AutoModelForMaskedLM if name == "BERT" else transformers.AutoModelForCausalLM
    model, loaded = (auto_class.from_config(config(), attn_implementation=a).eval() for a in ("eager", "sdpa"))
    loaded.load_state_dict(model.state_dict())
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        difference = (model(tokens).logits - loaded(tokens).logits).abs().max()
    now = model.config._attn_implementation
    print(f"{name}: expected sdpa, is {now}; logits differ from a model loaded with sdpa by {difference:.3g}")
    wrong |= now != "sdpa"
raise SystemExit(wrong)
