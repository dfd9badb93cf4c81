"""tp_plan="auto" of a class without a plan: every process holds the whole model, and nothing is said.

Seen with transformers 5.17.0; 5.23.0 refuses it: "`tp_size=2` was requested, but `OPTForCausalLM` has no `tp_plan`".
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
        sizes = {
            "vocab_size": 256,
            "hidden_size": 64,
            "ffn_dim": 128,
            "word_embed_proj_dim": 64,
            "num_hidden_layers": 2,
        }
        transformers.OPTForCausalLM(transformers.OPTConfig(**sizes, num_attention_heads=4)).save_pretrained(folder)
        raise SystemExit(bool(subprocess.run([*command, folder], check=False).returncode))
try:
    model = transformers.OPTForCausalLM.from_pretrained(sys.argv[1], tp_plan="auto")
except ValueError as error:
    print("refused:", error)
    raise SystemExit(0) from None
local = [getattr(parameter, "to_local", lambda whole=parameter: whole)() for parameter in model.parameters()]
held, whole = sum(part.numel() for part in local), sum(parameter.numel() for parameter in model.parameters())
print(f"process {os.environ['RANK']} of 2: expected about half of {whole} numbers, it holds {held}")
torch.distributed.barrier()
raise SystemExit(held == whole)
