"""MusicGen: `MusicgenForCausalLM.generate` expands its inputs by `num_return_sequences`, which is None by default.

Since 5.0 a GenerationConfig's unsaid fields are None; `GenerationMixin.generate` fills in the library's defaults
(`_get_default_generation_params`), which the `generate` of MusicGen's decoder does not.
"""

import torch
import transformers

SMALL = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 32}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.MusicgenDecoderConfig(
    **SMALL, num_codebooks=1, pad_token_id=0, bos_token_id=0, is_decoder=True, add_cross_attention=False
)
model = transformers.MusicgenForCausalLM(config).eval()
tokens = torch.tensor([[5, 6, 7]])
asked = {"attention_mask": torch.ones_like(tokens), "max_new_tokens": 4, "do_sample": False}
asked["decoder_start_token_id"] = 0  # without it no release generates
print("told of num_return_sequences:", tuple(model.generate(tokens, **asked, num_return_sequences=1).shape))
try:
    sound = model.generate(tokens, **asked)
except TypeError as error:
    raise SystemExit(f"FAULT: not told of it: {str(error).splitlines()[0]}") from None
print("OK:", tuple(sound.shape))
