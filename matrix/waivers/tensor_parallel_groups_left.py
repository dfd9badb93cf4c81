"""Each model that is loaded with tp_plan leaves its process groups behind, with their threads or communicators.

`initialize_distributed_mesh` makes two meshes of four axes for each model, and torch a group for each axis of them;
when the model is gone nobody destroys them. Seen with transformers 5.24.0 and gloo: 6 groups and 18 threads a load.
"""

import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers

if "RANK" not in os.environ:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
        config = transformers.LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2)
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
        raise SystemExit(bool(subprocess.run([*command, folder], check=False).returncode))
seen = []
for _ in range(13):
    model = transformers.LlamaForCausalLM.from_pretrained(sys.argv[1], tp_plan="auto")
    with torch.no_grad():
        model(torch.arange(17, device=model.device)[None])
    del model
    gc.collect()
    threads = len(list(Path("/proc/self/task").iterdir()))
    used = 0
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info()
        used = (total - free) // 2**20
    seen.append((len(torch.distributed.distributed_c10d._world.pg_map), threads, used))
print("process", os.environ["RANK"], "groups, threads and MiB of the GPU after each load:", seen)
raise SystemExit(seen[-1][0] > seen[0][0])
