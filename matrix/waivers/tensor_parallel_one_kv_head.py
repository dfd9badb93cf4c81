"""Two processes and one key/value head: the model loads, and forward fails with a shape.

k_proj and v_proj are cut by columns, in the middle of the only head. Seen with transformers 5.17.0 to 5.24.0.
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
        config = transformers.LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=1)
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
        raise SystemExit(bool(subprocess.run([*command, folder], check=False).returncode))
try:
    model = transformers.LlamaForCausalLM.from_pretrained(sys.argv[1], tp_plan="auto")
except ValueError as error:
    print("refused:", error)
    raise SystemExit(0) from None
print(
    "process", os.environ["RANK"], "has loaded it; k_proj:", tuple(model.model.layers[0].self_attn.k_proj.weight.shape)
)
with torch.no_grad():
    model(torch.arange(17, device=model.device)[None])
