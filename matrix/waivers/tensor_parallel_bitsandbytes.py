"""tp_plan="auto" of what bitsandbytes quantises: it loads, and forward finds no scales.

Each weight carries them as attributes, which the part that a process keeps does not have. Seen with transformers 5.17.0
to 5.24.0 and bitsandbytes 0.50.2: nf4 "quant_state", int8 "'Tensor' object has no attribute 'CB'".
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
        config = transformers.LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2)
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
        raise SystemExit(bool(subprocess.run([*command, folder], check=False).returncode))
failed = 0
for asked in ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, {"load_in_8bit": True}):
    quantised = transformers.BitsAndBytesConfig(**asked)
    arguments = {"quantization_config": quantised, "dtype": torch.bfloat16, "tp_plan": "auto"}
    try:
        model = transformers.LlamaForCausalLM.from_pretrained(sys.argv[1], **arguments)
    except (ValueError, NotImplementedError) as error:
        print("refused:", error)
        continue
    try:
        with torch.no_grad():
            model(torch.arange(17, device=model.device)[None])
    except Exception as error:
        print("process", os.environ["RANK"], *asked, "loads; forward:", type(error).__name__, error)
        failed += 1
raise SystemExit(bool(failed))
