"""transformers 4.48 and 4.49 and a bitsandbytes of today, on a CPU: no quantised model loads.

`validate_bnb_backend_availability` discards from a set of devices, a frozenset by now, if there is but the CPU.
transformers/integrations/bitsandbytes.py. On a machine with a GPU that is not reached.
"""

import tempfile

import torch
import transformers

print("torch", torch.__version__, "transformers", transformers.__version__)
if torch.cuda.is_available():
    print("cannot tell with a GPU: hide it (CUDA_VISIBLE_DEVICES=)")
    raise SystemExit(2)
config = transformers.LlamaConfig(
    vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4
)
with tempfile.TemporaryDirectory() as folder:
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    try:
        transformers.LlamaForCausalLM.from_pretrained(
            folder, quantization_config=transformers.BitsAndBytesConfig(load_in_8bit=True)
        )
        print("expected to be loaded, loaded")
    except AttributeError as error:
        raise SystemExit(f"FAULT: expected to be loaded, {error}") from None
