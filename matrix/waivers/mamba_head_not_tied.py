"""A Mamba of an older release, whose file leaves the head out because it is tied, is loaded with a random head.

Seen with transformers 5.0.0: PreTrainedConfig no longer says tie_word_embeddings and MambaConfig does not yet. Not with
4.57.6, nor since 5.1.0. What 5.0.0 saves itself holds a head of its own.
"""

import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

SIZES = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 1, "state_size": 16}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder:
    transformers.MambaForCausalLM(transformers.MambaConfig(**SIZES)).save_pretrained(folder)
    path = Path(folder) / "model.safetensors"
    weights = load_file(path)
    weights.pop("lm_head.weight", None)  # as the files of every other release are
    save_file(weights, path, metadata={"format": "pt"})
    model = transformers.MambaForCausalLM.from_pretrained(folder)
off = float((model.lm_head.weight - model.backbone.embeddings.weight).detach().abs().max())
print(f"the head and the embeddings it is tied to: expected to be the same, off by {off:.2g}")
raise SystemExit(off > 0)
