"""tp_plan="auto" of LFM2 with a head that is its embeddings: the plan divides the one and not the other.

`Lfm2ForCausalLM` says that the head is divided, its config says nothing of the embeddings, and the two are one weight:
it lies whole in each process, each gives all logits, and forward puts them together as if they were halves. Seen with
transformers 5.17.0 (512 logits for 256) and 5.23.0 ("narrow unexpectedly changed concrete size on dim 2: 512 -> 256"),
right with 5.24.0, whose config divides the embeddings.
"""

import os
import subprocess
import sys
import tempfile

import torch
import transformers

if "RANK" not in os.environ:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "layer_types": ["full_attention"]}
        transformers.Lfm2ForCausalLM(transformers.Lfm2Config(**sizes, **heads)).save_pretrained(folder)
        print("transformers", transformers.__version__, flush=True)
        raise SystemExit(bool(subprocess.run([*command, folder], check=False).returncode))
model = transformers.Lfm2ForCausalLM.from_pretrained(sys.argv[1], tp_plan="auto")
held = "divided" if hasattr(model.lm_head.weight, "device_mesh") else "whole"
words = f"process {os.environ['RANK']}: the head is {model.tp_plan.get('lm_head')} by plan, and {held}"
try:
    with torch.no_grad():
        shape = tuple(model(torch.arange(17, device=model.device)[None]).logits.shape)
except RuntimeError as error:
    shape = error
print(f"{words}; expected logits of shape (1, 17, 256), got {shape}", flush=True)
raise SystemExit(shape != (1, 17, 256))
