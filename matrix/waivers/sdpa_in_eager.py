"""Models loaded with attn_implementation="eager" call scaled_dot_product_attention all the same.

The pooling head of AIMv2 and the encoder of Granite Speech call it themselves, whatever their config says.
"""

import torch
import transformers
from torch.nn import functional

VISION = {"image_size": 32, "patch_size": 8, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
SPEECH = {"input_dim": 64, "hidden_dim": 64, "num_heads": 4, "dim_head": 16, "output_dim": 42, "max_pos_emb": 64}
called = []
plain = functional.scaled_dot_product_attention


def counted(*given, **options):
    """Note a call and make it."""
    called.append(given)
    return plain(*given, **options)


print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "GraniteSpeechEncoderConfig"):
    print("Granite Speech is not in this release")
    raise SystemExit(0)
functional.scaled_dot_product_attention = counted
vision = transformers.Aimv2VisionConfig(num_hidden_layers=1, attn_implementation="eager", **VISION)
speech = transformers.GraniteSpeechEncoderConfig(num_layers=2, context_size=64, attn_implementation="eager", **SPEECH)
tower, wrong = transformers.models.granite_speech.modeling_granite_speech.GraniteSpeechCTCEncoder(speech), False
for model, inputs in (
    (transformers.Aimv2VisionModel(vision), torch.randn(1, 3, 32, 32)),
    (tower, torch.randn(1, 32, 64)),
):
    called.clear()
    model.eval()(inputs)
    asked = model.config._attn_implementation
    print(f"{type(model).__name__} in {asked} attention: expected 0 calls of SDPA, seen {len(called)}")
    wrong |= bool(called)
raise SystemExit(wrong)
