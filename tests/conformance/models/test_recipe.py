"""Fixtures whose attention matters, by measurement."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from conformance.models import recipe
from conformance.models.batches import PLAIN
from conformance.models.fixtures import CALIBRATION, fixture
from conformance.models.outputs import spread_of
from matrix.architectures import Architecture
from tests.builders import ARCHITECTURES

TOKENS = {**PLAIN, "highest": 256, "decoder": False, "positions": "tokens"}


def built(architecture: Architecture) -> Any:
    """A model of the recipe's."""
    return recipe.build_model(architecture.model_type, architecture.auto_class, architecture.config, TOKENS)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_fixtures_have_attention_that_matters_and_values_that_do_not_saturate(name: str, tmp_path: Path) -> None:
    folder = fixture(ARCHITECTURES[name], tmp_path)
    measured = json.loads((folder / CALIBRATION).read_text(encoding="utf-8"))
    if name not in ("mamba", "mamba2"):  # which have no attention
        assert math.isclose(measured["attention_entropy"], recipe.ATTENTION_ENTROPY, abs_tol=0.06)
    assert math.isclose(measured["logit_spread"], recipe.LOGIT_SPREAD, rel_tol=0.3)
    assert measured["largest_logit"] < 100
    assert measured["largest_hidden_state"] < torch.finfo(torch.float16).max / 4  # of any module's output


def test_a_calibration_that_is_off_is_seen() -> None:
    architecture = ARCHITECTURES["llama"]
    model = built(architecture)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight.mul_(0.1)
        model.model.norm.weight.mul_(3)
    measured = recipe.calibration(model, TOKENS)
    assert measured["attention_entropy"] > recipe.ATTENTION_ENTROPY + 0.06
    assert measured["logit_spread"] > 2 * recipe.LOGIT_SPREAD


RECURRENT = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2}
RECURRENT |= {"state_size": 16, "num_heads": 8, "head_dim": 16, "n_groups": 1, "chunk_size": 16}


def test_what_a_class_initialises_for_a_reason_is_kept() -> None:
    """Time steps and decays of recurrent layers: drawn around 0 they would hide what such a layer remembers."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model("mamba2", **RECURRENT)
    torch.manual_seed(0)
    theirs = dict(transformers.AutoModelForCausalLM.from_config(config).named_parameters())
    ours = dict(recipe.build_model("mamba2", "AutoModelForCausalLM", RECURRENT, TOKENS).named_parameters())
    same = {name.rpartition(".")[2] for name, parameter in ours.items() if torch.equal(parameter, theirs[name])}
    assert same == {"dt_bias", "A_log", "D"}
    changed = {name for name, parameter in ours.items() if not torch.equal(parameter, theirs[name])}
    assert {"backbone.norm_f.weight", "backbone.layers.0.mixer.conv1d.bias"} <= changed


def test_a_fixed_table_is_kept() -> None:
    model = torch.nn.Module()
    model.table = torch.nn.Parameter(torch.zeros(4, 4), requires_grad=False)
    model.linear = torch.nn.Linear(4, 4)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            recipe._draw(name, parameter, model, 0)
    assert {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])} == {"table"}


def test_a_parameter_follows_from_its_name_and_shape_alone() -> None:
    """Not from what was made before it: two releases of a library make the same fixture."""
    one, other = torch.nn.Module(), torch.nn.Module()
    one.linear = torch.nn.Linear(4, 4)
    other.added, other.linear = torch.nn.Linear(2, 2), torch.nn.Linear(4, 4)
    with torch.no_grad():
        recipe._draw("linear.weight", one.linear.weight, one, 0)
        recipe._draw("linear.weight", other.linear.weight, other, 0)
        assert torch.equal(one.linear.weight, other.linear.weight)
        recipe._draw("linear.weight", other.linear.weight, other, 1)
        assert not torch.equal(one.linear.weight, other.linear.weight)


def test_a_model_without_attention_has_no_entropy_to_set() -> None:
    measured = recipe.calibration(recipe.build_model("mamba2", "AutoModelForCausalLM", RECURRENT, TOKENS), TOKENS)
    assert measured["attention_entropy"] is None
    assert math.isclose(measured["logit_spread"], recipe.LOGIT_SPREAD, rel_tol=0.3)


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "glm4_moe", "jamba"])
def test_rounding_turns_no_choice_of_experts(name: str) -> None:
    """The last expert chosen and the first that is not are apart by far more than bfloat16 rounds, at every token."""
    architecture = ARCHITECTURES[name]
    model = built(architecture)
    tokens = torch.arange(4, 256).reshape(4, -1)
    margins, chosen = [], set()
    for path, module in model.named_modules():
        if path.endswith((".gate", ".router")):
            module.register_forward_hook(lambda module, given, made: margins.append(made[0].double()))
    with torch.no_grad():
        model(tokens)
    chosen = {tuple(sorted(row.topk(2).indices.tolist())) for scores in margins for row in scores}
    for scores in margins:
        ranked = scores.sort(-1, descending=True).values
        margin = ranked[:, 1] - ranked[:, 2]
        assert float((margin / ranked.abs().amax(-1)).min()) > 8 * torch.finfo(torch.bfloat16).eps
    experts = margins[0].shape[-1]
    assert len(chosen) > experts  # and yet each is chosen, beside several others


class TakesAWord(torch.nn.Module):
    """A model that is also told a plain value."""

    dtype = property(lambda self: self.linear.weight.dtype)
    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)
        self.register_buffer("table", torch.full((2,), 0.1), persistent=False)

    def forward(self, values: torch.Tensor, *, really: bool) -> Any:
        """Logits of shape (batch, 1, 2)."""
        assert really
        return SimpleNamespace(logits=self.linear(values) + self.table)


def test_rounding_is_measured_of_whoever_runs_and_leaves_no_trace() -> None:
    model, given = TakesAWord(), {"values": torch.randn(3, 1, 2), "really": True}
    before, table = model(**given).logits, model.table.clone()
    rounding = recipe._rounding(model, given, torch.bfloat16, before)
    assert rounding is not None
    assert 0 < rounding < 0.1
    assert torch.equal(model.table, table)
    assert torch.equal(model(**given).logits, before)
    assert recipe._rounding(model, {**given, "really": False}, torch.bfloat16, before) is None


def test_what_a_head_rules_out_is_no_spread() -> None:
    logits = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    usual = spread_of(logits)
    ruled_out = torch.cat([logits, torch.full((4, 5), torch.finfo(torch.float32).min)], dim=1)
    assert torch.isclose(spread_of(ruled_out), usual)
