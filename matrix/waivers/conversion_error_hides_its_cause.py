"""torchao int4 without mslk: what is raised names neither the package nor what was raised inside.

`log_state_dict_report` raises a RuntimeError that speaks of "the above report", a table that it logs; the ImportError
of torchao stands in that table and in no `__cause__`. Seen with transformers 5.23.0 and 5.24.0, torchao 0.18.0.
"""

import tempfile

import torch
import transformers
from torchao.quantization import Int4WeightOnlyConfig

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}

print("torch", torch.__version__, "transformers", transformers.__version__)
transformers.logging.set_verbosity(transformers.logging.CRITICAL)  # as where nobody reads the log
with tempfile.TemporaryDirectory() as folder:
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, num_attention_heads=4)).save_pretrained(folder)
    quantised = transformers.TorchAoConfig(Int4WeightOnlyConfig(group_size=32))
    try:
        transformers.LlamaForCausalLM.from_pretrained(folder, quantization_config=quantised)
    except (ImportError, RuntimeError) as error:
        said, inside = str(error), error.__cause__ or error.__context__
        print(f"expected a word of mslk, seen {type(error).__name__}: {said}; that came of {inside!r}")
        raise SystemExit("mslk" not in f"{said} {inside}") from None
print("loaded")
