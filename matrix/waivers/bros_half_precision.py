"""Bros in 16 bits takes boxes in 16 bits alone: of any other dtype, the integers of its own example too, it raises.

Since transformers 5 `inv_freq` follows the dtype of the model, so that sines and cosines of boxes have that of the
boxes (of integers float32, by `bbox_scale`), and nothing casts them before `bbox_projection`: `modeling_bros.py`.
Boxes in 16 bits would be rounded to three digits. Runs on a CPU too.
"""

import tempfile

import torch
import transformers

SMALL = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
with tempfile.TemporaryDirectory() as folder:
    transformers.BrosModel(transformers.BrosConfig(**SMALL)).save_pretrained(folder)
    model = transformers.BrosModel.from_pretrained(folder, torch_dtype=torch.bfloat16).eval()
print("inv_freq:", model.bbox_embeddings.bbox_sinusoid_emb.x_pos_emb.inv_freq.dtype)
wrong = False
for dtype in (torch.bfloat16, torch.float32, torch.long):
    try:
        with torch.no_grad():
            found = model(torch.arange(8)[None], bbox=torch.tensor([[[0, 0, 1, 1]] * 8]).to(dtype))
        print(f"boxes of {dtype}: {found.last_hidden_state.dtype}")
    except RuntimeError as error:
        print(f"boxes of {dtype}: expected a result, seen {error}")
        wrong |= "same dtype" in str(error)
raise SystemExit(wrong)
