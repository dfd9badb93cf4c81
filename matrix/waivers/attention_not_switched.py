"""`set_attn_implementation` changes nothing but a warning for classes with an attention of their own.

`PreTrainedModel._can_set_attn_implementation` is False for them. Seen with transformers 5.23.0 for Falcon, whose
numbers are others with ALiBi, with 5.17.0 for T5 and with 4.57.6 for BERT, too.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "Falcon": lambda: transformers.FalconConfig(**SIZES),
    "Falcon with ALiBi": lambda: transformers.FalconConfig(**SIZES, alibi=True, multi_query=False),
    "BERT": lambda: transformers.BertConfig(**SIZES),
    "T5": lambda: transformers.T5Config(vocab_size=256, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4),
}
AUTO_CLASSES = {"BERT": transformers.AutoModelForMaskedLM, "T5": transformers.AutoModelForSeq2SeqLM}

print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers.PreTrainedModel, "set_attn_implementation"):
    print("set_attn_implementation is not in this release")
    raise SystemExit(0)
wrong = False
tokens = torch.randint(0, 256, (2, 20))
for name, config in CONFIGS.items():
    auto_class = AUTO_CLASSES.get(name, transformers.AutoModelForCausalLM)
    given = {"input_ids": tokens, "decoder_input_ids": tokens} if name == "T5" else {"input_ids": tokens}
    try:
        model, loaded = (auto_class.from_config(config(), attn_implementation=a).eval() for a in ("eager", "sdpa"))
    except ValueError as error:  # no such implementation in that release
        print(f"{name}: {error}")
        continue
    loaded.load_state_dict(model.state_dict())
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        difference = (model(**given).logits - loaded(**given).logits).abs().max()
    now = model.config._attn_implementation
    print(f"{name}: expected sdpa, is {now}; logits differ from a model loaded with sdpa by {difference:.3g}")
    wrong |= now != "sdpa"
raise SystemExit(wrong)
