"""Mllama says that it supports flash attention, and raises AttributeError in it: its vision layers have no `is_causal`.

Reported: https://github.com/huggingface/transformers/issues/48172. Since 5.23 the class refuses flash attention. Runs
on a CPU, without flash-attn: it is never reached.
"""

import torch
import transformers
from transformers.integrations import flash_attention
from transformers.models.mllama.configuration_mllama import MllamaVisionConfig
from transformers.models.mllama.modeling_mllama import MllamaPreTrainedModel, MllamaVisionAttention

print("torch", torch.__version__, "transformers", transformers.__version__)
flash_attention._flash_attention_forward = lambda query, *_, **__: query
config = MllamaVisionConfig(hidden_size=32, attention_heads=2)
config._attn_implementation = "flash_attention_2"
seen, supported = "no error", getattr(MllamaPreTrainedModel, "_supports_flash_attn", "not in this release")
if supported is True:
    try:
        MllamaVisionAttention(config)(torch.randn(1, 8, 32))
    except AttributeError as error:
        seen = str(error)
print(f"flash attention supported: {supported}; expected no error, seen {seen}")
raise SystemExit(seen != "no error")
