"""The probes of BetterTransformer can fail, and its documented refusals are those of optimum 1.27.0."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from conformance import spellings
from conformance.guide import better_transformer, try_recipe
from conformance.lab import Lab, Violated
from conformance.workloads.train import by_original_name
from matrix.guide import Recipe, Spelling, load_guide
from tests.builders import ARCHITECTURES, make_stack

Converts = Callable[[Callable[[Any], Any]], None]

GUIDE = load_guide()
RECIPES = {recipe.name: recipe for recipe in GUIDE.recipes if recipe.name.startswith("bettertransformer_")}
PROBED = {name: recipe for name, recipe in RECIPES.items() if recipe.probe}
LEGACY = make_stack({"transformers": "4.48.3", "optimum": "1.27.0"})

switched_at_run_time = pytest.mark.skipif(
    not hasattr(transformers.PreTrainedModel, "set_attn_implementation"),
    reason="BERT and OPT choose their attention when they are made",
)

NATIVE = (
    "Transformers now supports natively BetterTransformer optimizations ({sdpa}) for the model type {type}. As such"
)
NEVER = "The model type {type} can not be supported to be used with BetterTransformer. The identified reason is: {type}"
HEAD_MASK = (
    "layer_head_mask (or head_mask) different than None is unsupported for now with BetterTransformer, please"
    "open a PR or an issue at https://github.com/huggingface/optimum."
)
IN_TRAINING = "Training and Autocast are not implemented for BetterTransformer + {}. Please open an issue."
ATTENTIONS = "output_attentions=True can not be supported with BetterTransformer."
SDPA = "torch.nn.functional.scaled_dot_product_attention"
# What optimum 1.27.0 raises, by recipe.
DOCUMENTED: dict[str, Exception] = {
    "gpt_bigcode": ValueError(NATIVE.format(sdpa=SDPA, type="gpt_bigcode")),
    "whisper": ValueError(NATIVE.format(sdpa=SDPA, type="whisper")),
    "deberta_v2": ValueError(NEVER.format(type="deberta-v2")),
    "glpn": ValueError(NEVER.format(type="glpn")),
    "qwen2": NotImplementedError("The model type qwen2 is not yet supported to be used with BetterTransformer. Feel"),
    "int8": ValueError("`load_in_8bit` and `BetterTransformers` are mutually exclusive", " please pass a model"),
    "twice": Exception(
        "`BetterTransform.transform()` was called on a model already using Better Transformer modeling."
    ),
    "save": ValueError(
        "You are trying to save or push a model that has been converted with `BetterTransformer`.",
        " Please revert the model to its original state before calling `save_pretrained` or `push_to_hub`.",
        " By calling model = BetterTransformer.reverse(model) before saving or pushing.",
    ),
    "vit_training": NotImplementedError(IN_TRAINING.format("ViT")),
    "vit_autocast": NotImplementedError(IN_TRAINING.format("ViT")),
    "wav2vec2_training": NotImplementedError(IN_TRAINING.format("Wav2Vec2")),
    "clip_mask": ValueError("Please do not use attention masks when using `BetterTransformer` converted vision models"),
    "odd_heads": ValueError(
        "Number of heads 1 is not supported for `BetterTransformer` integration. Number of heads must be even."
    ),
    "activation": ValueError("Activation function silu not supported for `BetterTransformer` integration."),
    "positions": ValueError("Positional embedding type relative_key not supported for `BetterTransformer` integration"),
    "norm_eps": ValueError("norm1_eps and norm2_eps must be equal for `BetterTransformer` integration."),
    "pruned_heads": ValueError("Setting `pruned_heads` is unsupported with BetterTransformer, found {0, 1}."),
    "encoder_head_mask": ValueError(HEAD_MASK),
    "head_mask": ValueError(HEAD_MASK),
    "encoder_output_attentions": ValueError(ATTENTIONS),
    "output_attentions": ValueError(ATTENTIONS),
    "codegen_output_attentions": ValueError(ATTENTIONS),
    "row_padded_on_the_right": ValueError(
        "BetterTransformer does not support padding='max_length' with a batch size of 1."
    ),
}
WORKS = {"vit", "wav2vec2", "clip", "bert_autocast", "reversed", "gpt_neo", "row_padded_on_the_left"}
# What a stack raises before any of that, by its versions.
BY_RELEASE: dict[tuple[str, str], Exception] = {
    ("5.23.0", "1.27.0"): AttributeError("'BertForMaskedLM' object has no attribute 'to_bettertransformer'"),
    ("4.57.6", "1.27.0"): RuntimeError(
        "BetterTransformer requires transformers<4.49 but found 4.57.6. `optimum.bettertransformer` is deprecated and"
        " will be removed in optimum v2.0."
    ),
    ("4.57.6", "2.0.0"): ModuleNotFoundError("No module named 'optimum.bettertransformer'"),
    ("4.48.3", ""): ImportError("The package `optimum` is required to use Better Transformer."),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(make_stack(), tmp_path_factory.mktemp("fixtures"), ARCHITECTURES)


@pytest.fixture
def converts(monkeypatch: pytest.MonkeyPatch) -> Converts:
    """Puts a function in the place of to_bettertransformer."""
    return lambda conversion: monkeypatch.setattr(spellings, "to_bettertransformer", conversion)


def through_sdpa(model: Any) -> Any:
    model.config._attn_implementation = "sdpa"
    return model


def through_sdpa_too_sharp(model: Any) -> Any:
    for name, parameter in model.named_parameters():
        if name.endswith("q_proj.weight"):
            parameter.data.mul_(1.1)
    return through_sdpa(model)


def reversible(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A conversion whose reverse does `change` too."""

    def convert(model: Any) -> Any:
        def reverse() -> Any:
            del model.reverse_bettertransformer
            model.set_attn_implementation("eager")
            change(model)
            return model

        model.set_attn_implementation("sdpa")
        model.reverse_bettertransformer = reverse
        return model

    return convert


def lose_a_weight(model: Any) -> None:
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1


def save_something_else(model: Any) -> None:
    usual = model.save_pretrained

    def save(folder: str) -> None:
        before = next(model.parameters()).clone()
        lose_a_weight(model)
        usual(folder)
        with torch.no_grad():
            next(model.parameters()).copy_(before)

    model.save_pretrained = save


def add_to_the_logits(model: Any) -> None:
    model.register_forward_hook(lambda module, inputs, output: setattr(output, "logits", output.logits + 1e-6))


@pytest.mark.parametrize("name", ["vit", "wav2vec2", "clip", "gpt_neo", "qwen2", "row_padded_on_the_left", "reversed"])
def test_a_conversion_that_changes_nothing_is_violated(name: str, lab: Lab, converts: Converts) -> None:
    converts(lambda model: model)
    with pytest.raises(Violated, match=r"^kernels that ran: eager; of these should be all: "):
        getattr(better_transformer, f"bettertransformer_{name}")(lab, Spelling.GUIDE)


def test_an_encoder_must_take_the_fast_path(lab: Lab, converts: Converts) -> None:
    make = better_transformer._made(lab, "Qwen2ForCausalLM", **better_transformer._TEXT, num_key_value_heads=2)
    converts(through_sdpa)
    with pytest.raises(Violated, match=r"should be all: transformer_encoder_layer$"):
        better_transformer._try(lab, Spelling.GUIDE, make, better_transformer._tokens())


def test_a_converted_decoder_is_held_against_eager(lab: Lab, converts: Converts) -> None:
    converts(through_sdpa)
    better_transformer.bettertransformer_qwen2(lab, Spelling.GUIDE)
    converts(through_sdpa_too_sharp)
    with pytest.raises(Violated, match=r"Qwen2ForCausalLM float32 logits m.* exceeds"):
        better_transformer.bettertransformer_qwen2(lab, Spelling.GUIDE)


@switched_at_run_time
def test_a_faithful_reverse_holds(lab: Lab, converts: Converts) -> None:
    converts(reversible(lambda model: None))
    better_transformer.bettertransformer_reversed(lab, Spelling.GUIDE)


@switched_at_run_time
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lose_a_weight, "^bert reversed: weights differ from the original's: "),
        (save_something_else, "^bert reloaded: weights differ from the original's: "),
        (add_to_the_logits, "^bert reversed: logits differ from the original's by up to "),
        (lambda model: model.set_attn_implementation("sdpa"), "; of these should be all: eager$"),
        (lambda model: setattr(model, "more", torch.nn.Linear(1, 1)), "^bert reversed: weights more.bias, more.weight"),
    ],
)
def test_an_unfaithful_reverse_is_violated(
    change: Callable[[Any], Any], said: str, lab: Lab, converts: Converts
) -> None:
    converts(reversible(change))
    with pytest.raises(Violated, match=said):
        better_transformer.bettertransformer_reversed(lab, Spelling.GUIDE)


def test_attention_weights_must_be_there(lab: Lab, converts: Converts) -> None:
    converts(lambda model: model)
    better_transformer.bettertransformer_output_attentions(lab, Spelling.GUIDE)
    for nothing in (None, (), (None, None)):
        converts(lambda _, attentions=nothing: lambda **_: SimpleNamespace(attentions=attentions))
        with pytest.raises(Violated, match=r"^output_attentions=True gave "):
            better_transformer.bettertransformer_output_attentions(lab, Spelling.GUIDE)


@pytest.mark.parametrize("name", ["twice", "save", "glpn", "output_attentions", "vit_training", "vit_autocast"])
def test_a_documented_refusal_must_come(name: str, lab: Lab, converts: Converts) -> None:
    converts(lambda model: model)
    recipe = RECIPES[f"bettertransformer_{name}"]
    with pytest.raises(Violated, match=r"^the documented error did not come: "):
        try_recipe(recipe, Spelling.GUIDE, GUIDE.refusal(recipe, Spelling.GUIDE, LEGACY), lab)


def test_a_refusal_in_other_words_is_not_the_documented_one(lab: Lab, converts: Converts) -> None:
    def refuse(model: Any) -> None:
        raise ValueError("no")

    converts(refuse)
    recipe = RECIPES["bettertransformer_odd_heads"]
    with pytest.raises(ValueError, match=r"^no\ndocumented was ValueError"):
        try_recipe(recipe, Spelling.GUIDE, GUIDE.refusal(recipe, Spelling.GUIDE, LEGACY), lab)


def test_every_recipe_is_known_to_work_or_to_be_refused() -> None:
    names = {name.removeprefix("bettertransformer_") for name in PROBED}
    assert names == set(DOCUMENTED) | WORKS
    assert not set(DOCUMENTED) & WORKS


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_the_refusal_is_in_the_words_of_optimum(name: str) -> None:
    refusal = GUIDE.refusal(RECIPES[f"bettertransformer_{name}"], Spelling.GUIDE, LEGACY)
    assert refusal is not None
    alike = {other for other, error in DOCUMENTED.items() if refusal.matches(type(error).__name__, str(error))}
    assert name in alike
    # Recipes that share a table share its words.
    sharing = {
        other
        for other in DOCUMENTED
        if GUIDE.refusal(RECIPES[f"bettertransformer_{other}"], Spelling.GUIDE, LEGACY) is refusal
    }
    assert alike == sharing


@pytest.mark.parametrize("name", sorted(WORKS))
def test_nothing_is_refused_that_should_work(name: str) -> None:
    assert GUIDE.refusal(RECIPES[f"bettertransformer_{name}"], Spelling.GUIDE, LEGACY) is None


@pytest.mark.parametrize("versions", BY_RELEASE, ids=" and optimum ".join)
@pytest.mark.parametrize("recipe", PROBED.values(), ids=PROBED)
def test_a_release_without_it_refuses_every_recipe_alike(recipe: Recipe, versions: tuple[str, str]) -> None:
    release, optimum = versions
    stack = make_stack({"transformers": release} | ({"optimum": optimum} if optimum else {}))
    refusal = GUIDE.refusal(recipe, Spelling.GUIDE, stack)
    assert refusal is not None
    assert [key for key, error in BY_RELEASE.items() if refusal.matches(type(error).__name__, str(error))] == [versions]
    assert GUIDE.refusal(recipe, Spelling.TODAY, stack) is None


def test_gradients_of_fused_weights_go_by_their_original_names() -> None:
    layer = torch.nn.Module()
    layer.in_proj_weight = torch.nn.Parameter(torch.zeros(6, 2))
    layer.norm1_weight = torch.nn.Parameter(torch.zeros(2))
    layer.o = torch.nn.Linear(2, 2)
    layer.original_layers_mapping = {  # as optimum has it: o is a module, and norm1_eps no parameter
        "in_proj_weight": ["self.query.weight", "self.key.weight", "self.value.weight"],
        "norm1_weight": "norm.weight",
        "norm1_eps": "norm.eps",
        "o": "o",
    }
    model = torch.nn.Module()
    model.layer = layer
    fused = torch.arange(12.0).reshape(6, 2)
    given = {"layer.in_proj_weight": fused, "layer.norm1_weight": torch.ones(2), "layer.o.weight": torch.zeros(2, 2)}
    found = by_original_name(model, given)
    assert set(found) == {
        *(f"layer.self.{part}.weight" for part in ("query", "key", "value")),
        "layer.norm.weight",
        "layer.o.weight",
    }
    assert torch.equal(found["layer.self.key.weight"], fused[2:4])


def test_a_model_that_is_not_converted_keeps_its_names(tmp_path: Path) -> None:
    gradients = {"weight": torch.ones(1, 1)}
    assert by_original_name(torch.nn.Linear(1, 1), gradients) == gradients
