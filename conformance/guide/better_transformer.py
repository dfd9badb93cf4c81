"""BetterTransformer (G7 to G9, G17)."""

import re
import tempfile
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
import transformers

from conformance import spellings
from conformance.evidence.said import said
from conformance.evidence.structure import evidence_of
from conformance.evidence.watch import Watch
from conformance.judging.precision import without_tf32
from conformance.lab import Lab, Violated, random_tokens
from conformance.models.batches import make_batch
from conformance.models.loading import golden_dtype, torch_dtype
from matrix.axes import Dtype
from matrix.guide import Spelling
from matrix.kernels import ENCODER_LAYER, kernels_seen

Inputs = Mapping[str, torch.Tensor]
Make = Callable[[str, Dtype], Any]  # a model with that attention in that dtype, with the same weights each time

_FAST_PATH = frozenset({ENCODER_LAYER})
_SDPA = frozenset({"flash", "mem_efficient", "cudnn", "math", "overrideable"})
_QUERY_KEY = re.compile(r"(query|key|[qk]_proj|c_attn)\.weight$")
_SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
_TEXT = {**_SMALL, "vocab_size": 256}
_IMAGE = {**_SMALL, "image_size": 32, "patch_size": 8}
_CLASSES = 64  # with as many images there are logits enough for their mean error to say something
_AUDIO = {
    **_SMALL,
    "vocab_size": 32,
    "conv_dim": (32, 32),
    "conv_stride": (5, 4),
    "conv_kernel": (10, 8),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_CLIP = {
    # optimum looks at the activation of both, and gelu is the one that it does not replace.
    "vision_config": {**_IMAGE, "hidden_act": "gelu"},
    "text_config": {**_TEXT, "hidden_act": "gelu"},
    "projection_dim": 32,
    "num_labels": _CLASSES,
}


def bettertransformer_vit(lab: Lab, spelling: Spelling) -> None:
    """An image model."""
    for dtype in (Dtype.FLOAT32, Dtype.BFLOAT16):
        _try(
            lab,
            spelling,
            _made(lab, "ViTForImageClassification", **_IMAGE, num_labels=_CLASSES),
            {"pixel_values": _pixels()},
            dtype=dtype,
        )


def bettertransformer_wav2vec2(lab: Lab, spelling: Spelling) -> None:
    """An audio model, with and without attention_mask: each frame that was heard."""
    make = _made(lab, "Wav2Vec2ForCTC", **_AUDIO)
    sound = _noise(2, 1600)
    mask = torch.ones(2, 1600, dtype=torch.long)
    mask[1, 900:] = 0
    for dtype in (Dtype.FLOAT32, Dtype.BFLOAT16):
        _try(lab, spelling, make, {"input_values": sound}, dtype=dtype)
        model = make("eager", dtype)
        frames = int(model._get_feat_extract_output_lengths(1600))
        heard = model._get_feature_vector_attention_mask(frames, mask.to(lab.device)).bool()
        _try(lab, spelling, make, {"input_values": sound, "attention_mask": mask}, dtype=dtype, attended=heard)


def bettertransformer_clip(lab: Lab, spelling: Spelling) -> None:
    """The vision tower of CLIP, which alone is converted."""
    make = _made(lab, "CLIPForImageClassification", **_CLIP)
    for dtype in (Dtype.FLOAT32, Dtype.BFLOAT16):
        _try(lab, spelling, make, {"pixel_values": _pixels()}, dtype=dtype)


def bettertransformer_clip_mask(lab: Lab, _spelling: Spelling) -> None:
    """A mask over the patches of an image."""
    model = _converted(_made(lab, "CLIPForImageClassification", **_CLIP)("eager", Dtype.FLOAT32))
    with torch.no_grad():
        model.vision_model.encoder(
            inputs_embeds=_noise(1, 17, 64).to(lab.device), attention_mask=torch.zeros(1, 1, 17, 17, device=lab.device)
        )


def bettertransformer_vit_training(lab: Lab, _spelling: Spelling) -> None:
    """Training an image model that is converted."""
    model = _converted(_made(lab, "ViTForImageClassification", **_IMAGE, num_labels=_CLASSES)("eager", Dtype.FLOAT32))
    model.train()(pixel_values=_pixels().to(lab.device)).logits.sum().backward()


def bettertransformer_wav2vec2_training(lab: Lab, _spelling: Spelling) -> None:
    """Training an audio model that is converted."""
    model = _converted(_made(lab, "Wav2Vec2ForCTC", **_AUDIO)("eager", Dtype.FLOAT32))
    model.train()(input_values=_noise(2, 1600).to(lab.device)).logits.sum().backward()


def bettertransformer_vit_autocast(lab: Lab, _spelling: Spelling) -> None:
    """An image model under autocast."""
    model = _converted(_made(lab, "ViTForImageClassification", **_IMAGE, num_labels=_CLASSES)("eager", Dtype.FLOAT32))
    with torch.no_grad(), torch.autocast(lab.device.type, torch.bfloat16):
        model(pixel_values=_pixels().to(lab.device))


def bettertransformer_bert_autocast(lab: Lab, _spelling: Spelling) -> None:
    """A text model under autocast, which takes it off the fast path and through SDPA."""
    batch = make_batch("prefill", "right", 256, 0)
    truth = lab.reference_logits(lab.reference("bert", Dtype.FLOAT32, golden=False), batch)
    found = []
    for model in (_converted(lab.load("bert", "eager")), lab.load("bert", "eager")):
        with torch.autocast(lab.device.type, torch.bfloat16):
            found.append(_run(lab, model, batch))
    (candidate, kernels), (baseline, _) = found
    _require(kernels, _SDPA)
    attended = batch["attention_mask"].bool()
    lab.judge(
        "logits under autocast",
        candidate=candidate,
        baseline=baseline,
        golden=truth,
        attended=attended,
        dtype=Dtype.BFLOAT16,
    )


def bettertransformer_odd_heads(lab: Lab, spelling: Spelling) -> None:
    """An odd number of heads."""
    _try(lab, spelling, _made(lab, "BertForMaskedLM", **_TEXT | {"num_attention_heads": 1}), _tokens())


def bettertransformer_activation(lab: Lab, spelling: Spelling) -> None:
    """An activation that the fast path does not have."""
    _try(lab, spelling, _made(lab, "BertForMaskedLM", **_TEXT, hidden_act="silu"), _tokens())


def bettertransformer_norm_eps(lab: Lab, spelling: Spelling) -> None:
    """Two norms of one layer with an eps each."""
    make = _made(lab, "BertForMaskedLM", **_TEXT)

    def unequal(attention: str, dtype: Dtype) -> Any:
        model = make(attention, dtype)
        model.bert.encoder.layer[0].output.LayerNorm.eps = 1e-3
        return model

    _try(lab, spelling, unequal, _tokens())


def bettertransformer_positions(lab: Lab, spelling: Spelling) -> None:
    """Positions that enter the scores."""
    _try(lab, spelling, _made(lab, "BertForMaskedLM", **_TEXT, position_embedding_type="relative_key"), _tokens())


def bettertransformer_pruned_heads(lab: Lab, spelling: Spelling) -> None:
    """An encoder from which heads were pruned."""
    _try(lab, spelling, _made(lab, "BertForMaskedLM", **_TEXT, pruned_heads={0: [0, 1]}), _tokens())


def bettertransformer_encoder_head_mask(lab: Lab, spelling: Spelling) -> None:
    """An encoder told to leave out a head."""
    _try(lab, spelling, _made(lab, "BertForMaskedLM", **_TEXT), {**_tokens(), "head_mask": _without_one_head()})


def bettertransformer_encoder_output_attentions(lab: Lab, _spelling: Spelling) -> None:
    """An encoder asked for its attention weights."""
    _require_attentions(lab, "bert")


def bettertransformer_deberta_v2(lab: Lab, spelling: Spelling) -> None:
    """A type that cannot be converted."""
    _try(lab, spelling, _made(lab, "DebertaV2ForMaskedLM", **_TEXT), _tokens())


def bettertransformer_glpn(lab: Lab, _spelling: Spelling) -> None:
    """An image type that cannot be converted."""
    sizes = {"depths": [1] * 4, "hidden_sizes": [8] * 4, "num_attention_heads": [1] * 4, "decoder_hidden_size": 8}
    _converted(_made(lab, "GLPNForDepthEstimation", **sizes)("eager", Dtype.FLOAT32))


def bettertransformer_twice(lab: Lab, _spelling: Spelling) -> None:
    """Converting a model that is converted."""
    _converted(_converted(lab.load("bert", "eager")))


def bettertransformer_save(lab: Lab, _spelling: Spelling) -> None:
    """Saving a converted model."""
    with tempfile.TemporaryDirectory() as folder:
        _converted(lab.load("opt", "eager")).save_pretrained(folder)


def bettertransformer_reversed(lab: Lab, _spelling: Spelling) -> None:
    """Converted, reversed, saved and loaded: an encoder and a decoder with their weights and logits to the bit."""
    batch = make_batch("prefill", "right", 256, 0)
    attended = batch["attention_mask"].bool()
    for name in ("bert", "opt"):
        model = lab.load(name, "eager")
        weights = {key: value.clone() for key, value in model.state_dict().items()}
        logits, _ = _run(lab, model, batch)
        model = _converted(model)
        _, kernels = _run(lab, model, batch)
        _require(kernels, _FAST_PATH | _SDPA)
        reversed_model = model.reverse_bettertransformer()
        with tempfile.TemporaryDirectory() as folder:
            reversed_model.save_pretrained(folder)
            loaded = type(reversed_model).from_pretrained(folder, attn_implementation="eager").eval().to(lab.device)
        for what, found in (("reversed", reversed_model), ("reloaded", loaded)):
            _require_same(f"{name} {what}", weights, found.state_dict())
            again, kernels = _run(lab, found, batch)
            _require(kernels, {"eager"})
            if not torch.equal(again[attended], logits[attended]):
                difference = float((again - logits)[attended].abs().max())
                raise Violated(f"{name} {what}: logits differ from the original's by up to {difference:.3g}")


def bettertransformer_gpt_neo(lab: Lab, spelling: Spelling) -> None:
    """A decoder with local attention, with and without attention_mask."""
    batch = make_batch("prefill", "left", 256, 0)
    make = _loaded(lab, "gpt_neo")
    _try(lab, spelling, make, batch, attended=batch["attention_mask"].bool(), converted=_SDPA)
    _try(lab, spelling, make, _tokens(), converted=_SDPA)


def bettertransformer_gpt_bigcode(lab: Lab, spelling: Spelling) -> None:
    """A decoder that has SDPA of its own."""
    config = {"vocab_size": 256, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}
    _try(lab, spelling, _made(lab, "GPTBigCodeForCausalLM", **config), _tokens(), converted=_SDPA)


def bettertransformer_whisper(lab: Lab, spelling: Spelling) -> None:
    """Speech to text that has SDPA of its own."""
    sizes = {f"{side}_{what}": value for side in ("encoder", "decoder") for what, value in _WHISPER_SIDE.items()}
    make = _made(lab, "WhisperForConditionalGeneration", **_WHISPER, **sizes)
    inputs = {"input_features": _noise(2, 8, 64), "decoder_input_ids": _tokens()["input_ids"]}
    _try(lab, spelling, make, inputs, converted=_SDPA)


_WHISPER_SIDE = {"layers": 2, "attention_heads": 4, "ffn_dim": 128}
_WHISPER = {
    "vocab_size": 256,
    "d_model": 64,
    "num_mel_bins": 8,
    "max_source_positions": 32,
    "max_target_positions": 32,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0),
}


def bettertransformer_qwen2(lab: Lab, spelling: Spelling) -> None:
    """A decoder of a type that BetterTransformer has never heard of."""
    _try(lab, spelling, _made(lab, "Qwen2ForCausalLM", **_TEXT, num_key_value_heads=2), _tokens(), converted=_SDPA)


def bettertransformer_row_padded_on_the_right(lab: Lab, spelling: Spelling) -> None:
    """A decoder given a single row that is padded to a length."""
    _try_row(lab, spelling, "codegen", slice(0, 65))


def bettertransformer_row_padded_on_the_left(lab: Lab, spelling: Spelling) -> None:
    """Decoders given a single row that begins with padding."""
    for name in ("opt", "codegen"):
        _try_row(lab, spelling, name, slice(-65, None))


def bettertransformer_head_mask(lab: Lab, spelling: Spelling) -> None:
    """A decoder told to leave out a head."""
    inputs = {**_tokens(), "head_mask": _without_one_head()}
    _try(lab, spelling, _loaded(lab, "opt"), inputs, converted=_SDPA)


def bettertransformer_output_attentions(lab: Lab, _spelling: Spelling) -> None:
    """A decoder asked for its attention weights."""
    _require_attentions(lab, "opt")


def bettertransformer_codegen_output_attentions(lab: Lab, _spelling: Spelling) -> None:
    """Another, which is converted by its inner function alone."""
    _require_attentions(lab, "codegen")


def bettertransformer_int8(lab: Lab, _spelling: Spelling) -> None:
    """A model whose linear layers are in 8 bits. Made by hand: only the conversion is asked about here."""
    from bitsandbytes.nn import Linear8bitLt

    model = lab.load("opt", "eager")
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            has_bias = module.bias is not None
            layer = Linear8bitLt(module.in_features, module.out_features, bias=has_bias, has_fp16_weights=False)
            layer.load_state_dict(module.state_dict())
            owner, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(owner), attribute, layer)
    _converted(model.to(lab.device))


def _converted(model: Any) -> Any:
    return spellings.to_bettertransformer(model)


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def _pixels() -> torch.Tensor:
    return _noise(_CLASSES, 3, 32, 32)


def _tokens() -> dict[str, torch.Tensor]:
    return {"input_ids": random_tokens(2, 24)}


def _without_one_head() -> torch.Tensor:
    mask = torch.ones(2, 4)
    mask[0, 0] = 0
    return mask


def _made(lab: Lab, class_name: str, **config: Any) -> Make:
    """A maker of small models with drawn weights, under which attention is far from uniform."""
    model_class = getattr(transformers, class_name)

    def make(attention: str, dtype: Dtype) -> Any:
        model = model_class._from_config(model_class.config_class(**config), attn_implementation=attention)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in sorted(model.named_parameters()):
                if parameter.ndim < 2:
                    usual = 1.0 if name.endswith("weight") else 0.0
                    parameter.copy_(usual + 0.1 * torch.randn(parameter.shape, generator=generator))
                else:
                    loudness = 2.0 if _QUERY_KEY.search(name) else 1.0
                    parameter.normal_(std=loudness * parameter[0].numel() ** -0.5, generator=generator)
        return model.eval().to(lab.device, torch_dtype(dtype))

    return make


def _loaded(lab: Lab, name: str) -> Make:
    return lambda attention, dtype: lab.load(name, attention, dtype)


def _run(lab: Lab, model: Any, inputs: Inputs) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Logits of shape (batch, positions, classes), with one position for what is classified, and what ran."""
    watch = Watch()
    # Convolutions use TF32 unless told otherwise, in eager as well: it would drown what attention does.
    with torch.no_grad(), without_tf32(), said(), lab.seeded(model), watch.calls(model):
        logits = model(**{name: tensor.to(lab.device) for name, tensor in inputs.items()}).logits
    return _by_position(logits), kernels_seen(evidence_of(watch))


def _by_position(logits: torch.Tensor) -> torch.Tensor:
    return logits if logits.ndim == 3 else logits[:, None]


def _try(
    lab: Lab,
    spelling: Spelling,
    make: Make,
    inputs: Inputs,
    *,
    dtype: Dtype = Dtype.FLOAT32,
    attended: torch.Tensor | None = None,
    converted: Collection[str] = _FAST_PATH,
) -> None:
    """Logits of a converted model, or of one with SDPA today, held against eager attention.

    Args:
        converted: the kernels that may run in a converted model.

    Raises:
        Violated: other kernels ran, or the logits are further from the truth than the oracle allows.
    """
    today = spelling is Spelling.TODAY
    inputs = _in(torch_dtype(dtype), inputs)
    model = make("sdpa", dtype) if today else _converted(make("eager", dtype))
    name = type(model).__name__
    candidate, kernels = _run(lab, model, inputs)
    _require(kernels, _SDPA if today else converted)
    references = []
    for reference_dtype in (torch_dtype(dtype), golden_dtype(dtype)):
        reference = make("eager", dtype).to(reference_dtype)
        references.append(_by_position(lab.reference_logits(reference, _in(reference_dtype, inputs))))
    lab.judge(
        f"{name} {dtype} logits",
        candidate=candidate,
        baseline=references[0],
        golden=references[1],
        attended=torch.ones(candidate.shape[:2], dtype=torch.bool) if attended is None else attended,
        dtype=dtype,
    )


def _in(dtype: torch.dtype, inputs: Inputs) -> dict[str, torch.Tensor]:
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}


def _try_row(lab: Lab, spelling: Spelling, name: str, attended: slice) -> None:
    mask = torch.zeros(1, 144, dtype=torch.long)
    mask[:, attended] = 1
    inputs = {"input_ids": random_tokens(1, 144), "attention_mask": mask}
    _try(lab, spelling, _loaded(lab, name), inputs, attended=mask.bool(), converted=_SDPA)


def _require(kernels: Collection[str], wanted: Collection[str]) -> None:
    if not set(kernels) <= set(wanted):
        raise Violated(f"kernels that ran: {', '.join(kernels)}; of these should be all: {', '.join(sorted(wanted))}")


def _require_same(what: str, weights: Inputs, found: Inputs) -> None:
    if set(weights) != set(found):
        raise Violated(f"{what}: weights {', '.join(sorted(set(weights) ^ set(found))[:5])} are in one of the two only")
    changed = [name for name, weight in weights.items() if not torch.equal(weight, found[name])]
    if changed:
        raise Violated(f"{what}: weights differ from the original's: {', '.join(changed[:5])}")


def _require_attentions(lab: Lab, name: str) -> None:
    model = _converted(lab.load(name, "eager"))
    tokens = _tokens()["input_ids"].to(lab.device)
    with torch.no_grad():
        attentions = model(input_ids=tokens, output_attentions=True).attentions
    if not attentions or any(weights is None for weights in attentions):
        raise Violated(f"output_attentions=True gave {attentions}")
