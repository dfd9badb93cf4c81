"""A 4-bit model that has run on a CPU with AVX512-BF16 is saved with its block scales in the wrong order.

The first forward pass repacks each weight and transposes its absmax. `_convert_weight_packed_for_cpu_inverse`, which
`save_pretrained` goes through, transposes it back for double quantisation alone. Seen with bitsandbytes 0.50.2.
"""

import tempfile

import torch
import transformers

transformers.logging.set_verbosity_error()
torch.manual_seed(0)
config = transformers.LlamaConfig(
    vocab_size=256,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
)
plain, saved = tempfile.mkdtemp(), tempfile.mkdtemp()
transformers.LlamaForCausalLM(config).save_pretrained(plain)
tokens = torch.randint(0, 256, (1, 64))
for double_quantised in (False, True):
    quantised = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quantised,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    for used in (False, True):
        model = transformers.LlamaForCausalLM.from_pretrained(plain, quantization_config=quantised).eval()
        with torch.no_grad():
            fresh = transformers.LlamaForCausalLM.from_pretrained(plain, quantization_config=quantised).eval()
            right = fresh(tokens).logits
            if used:
                model(tokens)
            model.save_pretrained(saved)
            again = transformers.LlamaForCausalLM.from_pretrained(saved).eval()(tokens).logits
        scales = f"double_quant={double_quantised}"
        run = "after a forward pass" if used else "before its first pass"
        error = (again - right).abs().max().item()
        print(f"{scales}, saved {run}: logits change by {error:.3g}, they spread by {right.std().item():.3g}")
