"""A checkpoint that somebody names: what must be known of it is read off its folder."""

from pathlib import Path

import pytest
import torch
import transformers

from conformance.models.inputs import made
from conformance.zoo.checkpoint import auto_class_of, known_of_checkpoint
from conformance.zoo.shrink import only_layers
from matrix.architectures import Family, Kind, load_architectures
from matrix.errors import UsageError
from matrix.installed import of_checkpoint

TEXT = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
VISION = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 3}


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A sentence encoder: BERT without a head."""
    transformers.BertModel(transformers.BertConfig(**TEXT, num_hidden_layers=3)).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.mark.parametrize(
    ("model_type", "saved", "auto_class"),
    [
        ("bert", ["BertForMaskedLM"], "AutoModelForMaskedLM"),
        ("bert", ["BertForSequenceClassification"], "AutoModel"),
        ("bert", None, "AutoModel"),
        ("llama", ["LlamaForCausalLM"], "AutoModelForCausalLM"),
        ("gemma3", ["Gemma3ForConditionalGeneration"], "AutoModelForImageTextToText"),
        ("whisper", ["WhisperForConditionalGeneration"], "AutoModelForSpeechSeq2Seq"),
    ],
)
def test_the_class_is_that_which_it_was_saved_from(model_type: str, saved: list[str] | None, auto_class: str) -> None:
    config = transformers.AutoConfig.for_model(model_type)
    config.architectures = saved
    assert auto_class_of(config) == auto_class


def test_without_a_head_it_is_judged_as_what_it_is(bert: Path, tmp_path: Path) -> None:
    typed = load_architectures()
    architecture = of_checkpoint("mine", bert, tmp_path, typed)
    assert (architecture.name, architecture.auto_class, architecture.like) == ("mine", "AutoModel", "bert_base")
    assert (architecture.kind, architecture.family) == (Kind.ENCODER, Family.TEXT_ENCODER)
    assert architecture.flags["_supports_sdpa"]
    assert architecture.parameters == sum(p.numel() for p in transformers.AutoModel.from_pretrained(bert).parameters())
    assert architecture.inputs == {}  # its tokenizer says
    (kept,) = tmp_path.glob("checkpoint-*.json")
    kept.write_text(kept.read_text(encoding="utf-8").replace("text encoder", "speech"), encoding="utf-8")
    assert of_checkpoint("mine", bert, tmp_path, typed).family is Family.SPEECH  # it is read once


def test_pictures_have_the_size_that_its_own_config_says(tmp_path: Path) -> None:
    config = transformers.LlavaConfig(
        text_config={"model_type": "llama", **TEXT, "num_hidden_layers": 3},
        vision_config={"model_type": "clip_vision_model", **VISION, "image_size": 48, "patch_size": 8},
        image_token_index=299,
    )
    transformers.LlavaForConditionalGeneration(config).save_pretrained(tmp_path)
    known = known_of_checkpoint(tmp_path)
    assert known["auto_class"] == "AutoModelForImageTextToText"
    assert known["inputs"]["noise"] == {"pixel_values": [1, 3, 48, 48]}
    assert known["inputs"]["prefix"].count(299) == 36
    model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path)
    with torch.no_grad():
        assert model(**made(known["inputs"], (24, 9), "right")).logits.shape == (2, 60, 300)


def test_what_is_small_already_is_no_default_of_the_class(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(**TEXT | {"vocab_size": 256}, num_hidden_layers=2, attention_bias=True)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "small")
    known = known_of_checkpoint(tmp_path / "small")  # with the defaults of the class it would have 6738 million
    assert known["parameters"] == sum(p.numel() for p in transformers.LlamaForCausalLM(config).parameters())


def test_only_layers_are_left_out() -> None:
    layers = ["sliding_attention"] * 5 + ["full_attention"]
    config = {"hidden_size": 4096, "num_hidden_layers": 12, "layer_types": layers * 2, "num_attention_heads": 32}
    few = only_layers({**config, "vision_config": {"model_type": "x", "depth": 24, "image_size": 448}})
    assert few["layer_types"] == ["sliding_attention", "full_attention"]
    assert (few["num_hidden_layers"], few["hidden_size"], few["num_attention_heads"]) == (2, 4096, 32)
    assert few["vision_config"] == {"model_type": "x", "depth": 2, "image_size": 448}


@pytest.mark.parametrize(("config", "words"), [(None, "no readable config.json"), ('{"model_type": "no"}', "no")])
def test_a_folder_that_tells_nothing_is_refused(tmp_path: Path, config: str | None, words: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(UsageError, match=words):
        of_checkpoint("mine", tmp_path, tmp_path, {})
