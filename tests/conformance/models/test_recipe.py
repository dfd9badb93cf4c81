"""Fixtures whose attention matters, by measurement."""

import json
import math
from pathlib import Path

import pytest
import torch

from conformance.models import recipe
from conformance.models.fixtures import CALIBRATION, fixture
from tests.builders import ARCHITECTURES


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_fixtures_have_attention_that_matters_and_values_that_do_not_saturate(name: str, tmp_path: Path) -> None:
    folder = fixture(ARCHITECTURES[name], tmp_path)
    measured = json.loads((folder / CALIBRATION).read_text(encoding="utf-8"))
    assert math.isclose(measured["attention_entropy"], recipe.ATTENTION_ENTROPY, abs_tol=0.06)
    assert math.isclose(measured["logit_spread"], recipe.LOGIT_SPREAD, rel_tol=0.3)
    assert measured["largest_logit"] < 100
    assert measured["largest_hidden_state"] < torch.finfo(torch.float16).max / 100


def test_a_calibration_that_is_off_is_seen() -> None:
    architecture = ARCHITECTURES["llama"]
    model = recipe.build_model(architecture.model_type, architecture.auto_class, architecture.config)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight.mul_(0.1)
        model.model.norm.weight.mul_(3)
    measured = recipe.calibration(model)
    assert measured["attention_entropy"] > recipe.ATTENTION_ENTROPY + 0.06
    assert measured["logit_spread"] > 2 * recipe.LOGIT_SPREAD
