"""An offloaded StaticCache of sliding layers alone, or of attention beside a recurrence, raises at its first call.

`Cache.prefetch` looks for a layer to bring back from the CPU and there is none. It is called by `Cache.update`, which
needs a GPU; here it is called alone. Seen with transformers 5.17.0; with 5.24.0 of sliding layers only. Llama shows
what is right: it comes as far as the stream.
"""

import contextlib

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 128}
MODELS = {"llama": {}, "mistral": {"sliding_window": 16}, "recurrent_gemma": {"attention_window_size": 16}}
MODELS |= {"falcon_h1": {}, "zamba2": {"layers_block_type": ["mamba", "hybrid", "mamba"]}}

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__, "expected: nothing raised")
for model_type, sizes in MODELS.items():
    config = transformers.AutoConfig.for_model(model_type, **SMALL | sizes)
    cache = transformers.StaticCache(config=config, max_cache_len=32)
    cache.prefetch_stream = contextlib.nullcontext()
    try:
        cache.prefetch(1)  # as `offload_only_non_sliding` of a StaticCache has it
        print(f"{model_type}: a layer was found")
    except ValueError as error:
        print(f"{model_type}: ValueError: {error}")
        wrong = True
raise SystemExit(wrong)
