"""tp_plan="auto" of a mixture of experts, saved: its experts' gate and up are divided in strides, and not gathered.

Seen with torch 2.11.0 and transformers 5.17.0; torch 2.13.0 gathers them.
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
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4}
        transformers.MixtralForCausalLM(transformers.MixtralConfig(**sizes, **heads)).save_pretrained(folder)
        raise SystemExit(bool(subprocess.run([*command, folder], check=False).returncode))
model = transformers.MixtralForCausalLM.from_pretrained(sys.argv[1], tp_plan="auto")
print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as again:
    try:
        model.save_pretrained(again)
        said = "it is saved"
    except ValueError as error:
        said = f"ValueError: {error}"
print(f"process {os.environ['RANK']} of 2: expected to be saved, {said}")
torch.distributed.barrier()
raise SystemExit(said != "it is saved")
