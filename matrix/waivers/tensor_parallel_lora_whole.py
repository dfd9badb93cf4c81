"""A LoRA over a model that processes hold together is not divided as the model is, and forward raises.

peft 0.21.0 divides a LoRA's matrices where a layer has `_hf_tp_plan`, which transformers sets no more since its tensor
parallelism holds weights as DTensors: the plan lies on the model then. Both matrices stay whole, and their output is
added to half of the layer's: "The size of tensor a (32) must match the size of tensor b (64)". Merged, a whole plain
tensor meets a divided one. peft 0.21.1 reads the plan from the model. Seen with peft 0.21.0 and transformers 5.17.0;
transformers 5.23.0 gives its layers the sizes that each process holds, and a LoRA made for them fits.
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
model = transformers.LlamaForCausalLM.from_pretrained(sys.argv[1], tp_plan="auto")
adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj"]))
try:
    with torch.no_grad():
        adapted(torch.arange(17, device=model.device)[None])
except RuntimeError as error:
    print(f"process {os.environ['RANK']}: expected logits: {error}", flush=True)
    raise SystemExit(1) from None
print(f"process {os.environ['RANK']}: runs", flush=True)
