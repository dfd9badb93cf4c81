"""A skip list for bitsandbytes takes the place of the usual one: the tied head is quantised too, and no pass runs.

`get_modules_to_not_convert` looks for head and tied weights only where nobody gave `llm_int8_skip_modules`. The head
becomes a quantised module, whose weight the embedding's then takes the place of. `BitsAndBytesConfig` says that of
causal models the head stays as it is. Seen with transformers 5.23.0 and 5.24.0, bitsandbytes 0.50.2.
"""

import tempfile

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
model = transformers.LlamaForCausalLM(
    transformers.LlamaConfig(**SIZES, num_attention_heads=4, tie_word_embeddings=True)
)
raised = 0
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    for asked in ({"load_in_8bit": True}, {"load_in_4bit": True}):
        for skipped in (None, ["q_proj"]):
            config = transformers.BitsAndBytesConfig(**asked, llm_int8_skip_modules=skipped)
            try:
                loaded = transformers.LlamaForCausalLM.from_pretrained(folder, quantization_config=config)
            except (AttributeError, ImportError, RuntimeError) as error:  # a release that quantises nothing on a CPU
                print("cannot tell:", error)
                raise SystemExit(2) from None
            with torch.no_grad():
                try:
                    found = f"logits of shape {tuple(loaded(torch.arange(8)[None]).logits.shape)}"
                except (AssertionError, AttributeError) as error:
                    found = f"{type(error).__name__}: {error}"
                    raised += 1
            head = type(loaded.lm_head).__name__
            print(f"{min(asked)}, skip {skipped}: expected logits and a Linear for a head, seen {found}; {head}")
raise SystemExit(raised > 0)
