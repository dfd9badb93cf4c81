"""BertForMaskedLM in 8 bits: which linear layers stay as they were.

transformers 4.x leaves all of `cls` alone, because the decoder in it is tied; 5.x leaves the decoder alone.
"""

import tempfile

import torch
import transformers


def main():
    """Quantise a small BERT and print the classes of the layers of its head."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    folder = tempfile.mkdtemp()
    config = transformers.BertConfig(
        vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4
    )
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    model = transformers.BertForMaskedLM.from_pretrained(
        folder, quantization_config=transformers.BitsAndBytesConfig(load_in_8bit=True)
    )
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name.startswith("cls"):
            print(name, type(module).__name__)


if __name__ == "__main__":
    main()
