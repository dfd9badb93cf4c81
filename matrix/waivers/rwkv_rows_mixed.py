"""RWKV decodes several rows at once, each with another one's state: what a row says depends on the rows beside it.

A step of one token takes the token before from its state, of shape (rows, features), and adds it to hidden states of
shape (rows, 1, features): what comes of it has as many tokens as there are rows, each with another row's. Of them the
last is looked at. `modeling_rwkv.py`, in attention and in the feed-forward layer. One row is right.
Seen with transformers 5.17.0, 5.23.0 and 5.24.0.
"""

import torch
import transformers

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.RwkvConfig(vocab_size=256, hidden_size=64, attention_hidden_size=64, num_hidden_layers=2)
model = transformers.RwkvForCausalLM(config).eval()
for parameter in model.parameters():
    parameter.data.normal_(0, 0.3)
tokens = torch.randint(4, 256, (2, 12))
off = {}
for rows in (1, 2):
    with torch.no_grad():
        state = model(tokens[:rows, :-1], use_cache=True).state
        step = model(tokens[:rows, -1:], state=state, use_cache=True).logits[:, -1]
        whole = model(tokens[:rows], use_cache=False).logits[:, -1]
    off[rows] = float((step - whole).abs().max())
    print(f"{rows} rows: expected the logits of one pass over all tokens, off by {off[rows]:.2g}")
raise SystemExit(off[2] > 10 * off[1] + 1e-4)
