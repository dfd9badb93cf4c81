"""A LoRA over a base that was loaded from a relative path, with a layer on the disk: the base's own file is destroyed.

peft writes a copy of the base under other names, to a path that it takes apart at slashes and puts together again
without the first one (`_update_offload`: "avoid overwriting original safetensors"). Of `base/model.safetensors` nothing
changes in that: the copy takes the file's place, and when the base is loaded again every weight of it is drawn at
random. Of an absolute path the copy lands beneath the working directory. Seen with peft 0.21.2.
"""

import contextlib
import tempfile

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2}
PLACES = dict.fromkeys(("model.embed_tokens", "model.layers.0", "model.norm", "model.rotary_emb", "lm_head"), "cpu")


def names():
    """Of what is in the base's file."""
    with safe_open("base/model.safetensors", "pt") as file:
        return sorted(file.keys())


torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL))
    plain.save_pretrained("base")
    get_peft_model(plain, LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained("adapter")
    before = names()
    base = transformers.AutoModelForCausalLM.from_pretrained(
        "base", device_map={**PLACES, "model.layers.1": "disk"}, offload_folder="away"
    )
    with contextlib.suppress(NotImplementedError):  # it cannot move what waits on the disk, and has written by then
        PeftModel.from_pretrained(base, "adapter")
    after = names()
print(f"the base's file: expected {before[0]}, ..., it holds {after[0]}, ...")
raise SystemExit(after != before)
