"""Sizes that a GGUF file names and transformers does not read: those of the class stand in for them.

`attention.key_length` of Qwen3 and `expert_feed_forward_length` of Qwen3-MoE have no entry in GGUF_CONFIG_MAPPING. A
file whose sizes are others than the config class has by default is refused for shapes that do not match. Seen with
transformers 5.23.0 and 5.24.0 and gguf 0.19.0.
"""

import transformers
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

print("transformers", transformers.__version__)
wrong = False
for name, key in (("qwen3", "attention.key_length"), ("qwen3_moe", "expert_feed_forward_length")):
    found = GGUF_CONFIG_MAPPING[name].get(key)
    print(f"{name}: expected {key} to be read, is {found}")
    wrong |= found is None
raise SystemExit(wrong)
