"""Several tokens at once on a filled cache: Jamba and RecurrentGemma begin anew.

Jamba's scan is given no initial state, RecurrentGemma's convolution takes any call with more than one token for the
first. Seen with transformers 5.23.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2}
MODELS = {
    "jamba": {"num_hidden_layers": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1},
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 64, "head_dim": 32, "attention_window_size": 64},
}


def make(model_type, **config):
    """A small model with the library's own initialisation, its weights made large enough to show."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(model_type, **config)
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    return model


def main():
    """Two chunks with a cache, held against one pass."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    for model_type, config in MODELS.items():
        model = make(model_type, **SMALL, **config, num_key_value_heads=1)
        tokens, cache = torch.randint(4, 256, (1, 24)), transformers.DynamicCache(config=model.config)
        with torch.no_grad():
            whole = model(tokens).logits[:, 12:]
            model(tokens[:, :12], past_key_values=cache, use_cache=True)
            later = {"past_key_values": cache, "position_ids": torch.arange(12, 24)[None], "use_cache": True}
            off = (model(tokens[:, 12:], **later).logits - whole).abs().max()
        print(f"{model_type:16} off by {float(off):.2g}, logits spread by {float(whole.std()):.2g}")


if __name__ == "__main__":
    main()
