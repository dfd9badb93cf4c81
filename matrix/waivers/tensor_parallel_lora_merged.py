"""A LoRA over a model that processes hold together says what it should, and cannot be merged.

peft divides B where the weight is divided by rows of outputs and A where by inputs, as the weight itself is; the other
one of the pair each process holds whole, as a plain tensor, and `get_delta_weight` multiplies the two: "got mixed
torch.Tensor and DTensor". Seen with peft 0.21.2 and transformers 5.23.0 and 5.24.0.
"""

import os
import subprocess
import sys
import tempfile

import peft
import torch
import transformers

if "RANK" not in os.environ:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__]
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
        config = transformers.LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2)
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
        print("transformers", transformers.__version__, "peft", peft.__version__, flush=True)
        raise SystemExit(bool(subprocess.run([*command, folder], check=False).returncode))
failed = 0
for module in ("q_proj", "down_proj"):
    model = transformers.LlamaForCausalLM.from_pretrained(sys.argv[1], tp_plan="auto")
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=[module]))
    with torch.no_grad():
        adapted(torch.arange(17, device=model.device)[None])
    try:
        adapted.merge_and_unload()
    except RuntimeError as error:
        print(f"process {os.environ['RANK']}: {module} runs; expected to be merged: {error}", flush=True)
        failed += 1
raise SystemExit(bool(failed))
