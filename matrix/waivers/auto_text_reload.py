"""AutoModelForCausalLM makes Emu3ForCausalLM and MllamaForCausalLM, but does not know what they save.

For `emu3` and `mllama` the auto class gives the language model that part of the config which is the text's, so that
what is saved is of type `emu3_text_model` or `mllama_text_model`, which the mapping of the auto class lacks (it has
gemma3_text, llama4_text and others beside gemma3 and llama4). models/auto/modeling_auto.py. Runs on a CPU too.
"""

import tempfile

import torch
import transformers

SMALL = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
ROPE = {"rope_scaling": {"rope_type": "default", "rope_theta": 1e4}, "cross_attention_layers": [1]}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "num_hidden_layers": 2, "num_key_value_heads": 2}

print("torch", torch.__version__, "transformers", transformers.__version__)
wrong = False
for config in (
    transformers.Emu3Config(text_config=SMALL | IDS),
    transformers.MllamaConfig(text_config=SMALL | IDS | ROPE),
):
    try:
        model = transformers.AutoModelForCausalLM.from_config(config)
    except (AttributeError, TypeError) as error:
        print(f"{config.model_type}: not made from its config in this release: {error}")
        continue
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        try:
            again = transformers.AutoModelForCausalLM.from_pretrained(folder)
            print(f"{type(model).__name__}: saved, and loaded as {type(again).__name__}")
        except ValueError as error:
            print(f"{type(model).__name__}: expected to load again, seen {str(error).splitlines()[0]}")
            wrong = True
raise SystemExit(wrong)
