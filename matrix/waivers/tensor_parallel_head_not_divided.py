"""tp_plan="auto" of LFM2, whose class has a plan for the head alone: logits of the vocabulary twice over.

The head is tied to embeddings that are left whole, and what it answers is gathered as if each process had a part. Seen
with transformers 5.17.0; 5.23.0 raises "narrow unexpectedly changed concrete size", 5.24.0 divides the head.
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
        sizes = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]}
        transformers.Lfm2ForCausalLM(transformers.Lfm2Config(**sizes, **heads)).save_pretrained(folder)
        raise SystemExit(bool(subprocess.run([*command, folder], check=False).returncode))
model = transformers.Lfm2ForCausalLM.from_pretrained(sys.argv[1], tp_plan="auto")
with torch.no_grad():
    found = model(torch.arange(4, 12, device=model.device)[None]).logits.shape[-1]
print(f"process {os.environ['RANK']} of 2: expected 256 logits, got {found}")
torch.distributed.barrier()
raise SystemExit(found != 256)
