"""Qwen3-Next with offloaded layers: prefill is right, decoding gives garbage or NaN.

A decoding step of the linear attention reads conv1d.weight without calling conv1d, so that accelerate's hook does not
bring the weight in. transformers 5.23 calls a helper that does.
"""

import tempfile

import torch
import transformers
from transformers import Qwen3NextConfig, Qwen3NextForCausalLM


def main():
    """Prefill, then decode one token at a time; print the error against the same model without offloading."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    torch.manual_seed(0)
    config = Qwen3NextConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        linear_num_value_heads=4,
        linear_num_key_heads=2,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
        mlp_only_layers=[0, 1, 2, 3],
        initializer_range=0.2,
    )
    tokens = torch.randint(4, 256, (1, 20))
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as offloaded:
        Qwen3NextForCausalLM(config).save_pretrained(folder)
        places = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
        places |= {f"model.layers.{index}": "disk" if index == 0 else "cpu" for index in range(4)}
        plain = Qwen3NextForCausalLM.from_pretrained(folder).eval()
        model = Qwen3NextForCausalLM.from_pretrained(folder, device_map=places, offload_folder=offloaded).eval()
        caches = [None, None]
        with torch.no_grad():
            for start, end in [(0, 16), *((step, step + 1) for step in range(16, 20))]:
                found = []
                for index, each in enumerate((plain, model)):
                    output = each(tokens[:, start:end], past_key_values=caches[index], use_cache=True)
                    caches[index] = output.past_key_values
                    found.append(output.logits[0, -1])
                error = (found[0] - found[1]).abs().max().item()
                wrong = "FAULT" if not error < 1e-3 else ""
                print(f"tokens {start}-{end - 1}: logits differ by up to {error:.3g} {wrong}")


if __name__ == "__main__":
    main()
