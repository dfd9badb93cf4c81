"""`set_attn_implementation` changes nothing for Falcon but a warning; with ALiBi the numbers are others, too.

Falcon has attention classes of its own instead of the AttentionInterface, so that
`PreTrainedModel._can_set_attn_implementation` is False. Seen with transformers 5.23.0.
"""

import torch
import transformers


def make(attention, alibi):
    """A small Falcon."""
    sizes = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.FalconConfig(**sizes, alibi=alibi, multi_query=False)
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


torch.manual_seed(0)
wrong = False
for alibi in (False, True):
    model, loaded = make("eager", alibi), make("sdpa", alibi)
    model.set_attn_implementation("sdpa")
    loaded.load_state_dict(model.state_dict())
    tokens = torch.randint(0, 256, (2, 20))
    with torch.no_grad():
        difference = (model(tokens).logits - loaded(tokens).logits).abs().max()
    now = model.config._attn_implementation
    print(f"alibi={alibi}: expected sdpa, is {now}; logits differ from a model loaded with sdpa by {difference:.3g}")
    wrong |= now != "sdpa"
raise SystemExit(wrong)
