"""Beam search of RecurrentGemma: the beams change places, and the state of its recurrent layers does not.

It is kept in the modules, not in the cache that `generate` reorders. Seen with transformers 5.23.0.
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
                parameter.mul_(4)
    return model


def main():
    """The score of the sequence that a beam search returns, and what the model itself gives it."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    attention = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "attention_window_size": 64}
    small = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 128, "lru_width": 64}
    model = make("recurrent_gemma", **small, **attention)
    model.generation_config.eos_token_id = None
    tokens = torch.randint(4, 256, (1, 12))
    for beams in (1, 4):
        wanted = {"num_beams": beams, "max_new_tokens": 16, "do_sample": False, "pad_token_id": 0}
        told = {"return_dict_in_generate": True, "output_logits": True, "output_scores": True}
        output = model.generate(tokens, attention_mask=torch.ones_like(tokens), **wanted, **told)
        with torch.no_grad():
            true = model(output.sequences[:, :-1]).logits[:, 11:].log_softmax(-1)
        total = true.gather(2, output.sequences[:, 12:, None]).sum()
        scores = output.get("sequences_scores")
        if scores is None:
            said = model.compute_transition_scores(output.sequences, output.logits, normalize_logits=True).sum()
        else:
            said = scores[0] * 16
        print(
            f"{beams} beams: log-probability {float(said):.3f} according to the search, {float(total):.3f} in one pass"
        )


if __name__ == "__main__":
    main()
