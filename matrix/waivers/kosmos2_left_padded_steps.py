"""KOSMOS-2 and 2.5: after left padding each cached step of `generate` embeds its token too far on, by the padding.

The prompt's positions leave padding out (`create_position_ids_from_input_ids`); those of a step add the length of the
cache, which counts it.
"""

import torch
import transformers

TEXT = {"vocab_size": 64, "embed_dim": 64, "layers": 2, "ffn_dim": 64, "attention_heads": 4, "pad_token_id": 1}
VISION = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
SIZES = {"image_size": 32, "patch_size": 8}

torch.manual_seed(0)
torch.set_grad_enabled(False)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.Kosmos2Config(text_config=TEXT, vision_config={**VISION, **SIZES}, latent_query_num=4)
model = transformers.Kosmos2ForConditionalGeneration(config).eval()
for parameter in model.text_model.parameters():
    if parameter.ndim == 2:
        parameter.mul_(4)  # under the weights that a class begins with little shows
row, pixels = torch.tensor([[9, 9, 9, 9, 5, 6, 7]]), torch.randn(1, 3, 32, 32)
is_image = (row == 9).int()
asked = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "output_logits": True, "pad_token_id": 1}
found = []
for padding in (0, 5):
    padded = [torch.nn.functional.pad(one, (padding, 0), value=fill) for one, fill in ((row, 1), (is_image, 0))]
    mask = torch.nn.functional.pad(torch.ones_like(row), (padding, 0))
    given = {"input_ids": padded[0], "image_embeds_position_mask": padded[1], "attention_mask": mask}
    given |= {"pixel_values": pixels, "return_dict_in_generate": True, "use_cache": True}
    found.append(torch.stack(model.generate(**given, **asked).logits, 1)[0])
off = (found[1] - found[0]).abs().amax(1).tolist()
print(f"5 columns of padding move the four steps by {off} where logits spread by {float(found[0].std()):.2g}")
raise SystemExit(f"FAULT: the second step is off by {off[1]:.2g}" if off[0] < 1e-4 < off[1] else print("OK", off))
