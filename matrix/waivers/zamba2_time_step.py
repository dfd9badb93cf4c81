"""Zamba2 decodes with other time steps than it prefills with: only the prefill holds them to `time_step_limit`.

`dt_limit=self.time_step_limit` goes to the chunked scan, nothing of the kind to the update of a single token.
Seen with transformers 5.23.0.
"""

import torch
import transformers


def make(model_type, **config):
    """A small model with the library's own initialisation, its weights made large enough to show."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(model_type, **config)
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(16)
    return model


def main():
    """Decode the last token with a cache, and hold it against one pass."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    mamba = {"mamba_headdim": 8, "n_mamba_heads": 16, "mamba_d_state": 8, "mamba_ngroups": 1, "chunk_size": 16}
    small = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
    attention = {"layers_block_type": ["mamba", "hybrid"], "num_attention_heads": 4, "num_mem_blocks": 1}
    model = make("zamba2", **small, **mamba, **attention)
    tokens = torch.randint(4, 256, (4, 48))
    mixers = [module for module in model.modules() if hasattr(module, "time_step_limit")]
    for mixer in mixers:
        mixer.dt_bias.data.fill_(-12.0)  # time steps far below the limit
    for limit in (mixers[0].time_step_limit, (0.0, float("inf"))):
        for mixer in mixers:
            mixer.time_step_limit = limit
        with torch.no_grad():
            whole = model(tokens).logits[:, -1]
            cache = model(tokens[:, :24], use_cache=True).past_key_values
            for place in range(24, 48):
                step = {"position_ids": torch.full((4, 1), place), "past_key_values": cache, "use_cache": True}
                last = model(tokens[:, place : place + 1], **step).logits[:, -1]
        print(f"time_step_limit {limit}: off by {float((last - whole).abs().max()):.2g}")


if __name__ == "__main__":
    main()
