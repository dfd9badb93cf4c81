"""The engine's parts: fixtures, batches, float64, the meaning of quantised weights, the comparison."""

import json
import math
import multiprocessing
from pathlib import Path

import pytest
import torch

from conformance.measure import recipe, spellings
from conformance.measure.batches import LENGTHS, extended, make_batch
from conformance.measure.compare import compare
from conformance.measure.fixtures import CALIBRATION, fixture
from conformance.measure.placement import offload_map
from conformance.measure.precision import TrueFloat64
from conformance.measure.quantised import PlainInt8Linear, dequantise_4bit, dequantise_int8
from matrix.architectures import load_architectures
from matrix.axes import Dtype

ARCHITECTURES = load_architectures()


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


def _build(cache: str) -> str:
    return str(fixture(ARCHITECTURES["opt"], Path(cache)))


def test_a_fixture_is_built_once_by_whoever_comes_first(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        folders = pool.map(_build, [str(tmp_path)] * 2)
    assert len(set(folders)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [Path(folders[0]).name]
    assert (Path(folders[0]) / "model.safetensors").is_file()


def test_another_seed_or_config_is_another_fixture(tmp_path: Path) -> None:
    assert fixture(ARCHITECTURES["opt"], tmp_path, seed=0) != fixture(ARCHITECTURES["opt"], tmp_path, seed=1)


@pytest.mark.parametrize("workload", sorted(LENGTHS))
@pytest.mark.parametrize(("padding", "column"), [("left", 0), ("right", -1)])
def test_padded_batches_are_uneven_in_every_row(workload: str, padding: str, column: int) -> None:
    batch = make_batch(workload, padding, 256, 0)
    assert batch["attention_mask"].sum(1).tolist() == list(LENGTHS[workload])
    assert batch["attention_mask"][1:, column].sum() == 0
    assert (batch["input_ids"][batch["attention_mask"] == 0] == 0).all()
    assert (batch["input_ids"][batch["attention_mask"] == 1] >= 4).all()


def test_teacher_forcing_uses_the_positions_of_generation() -> None:
    batch = make_batch("generate", "left", 256, 0)
    new = torch.full((4, 3), 7)
    forced = extended(batch, torch.cat([batch["input_ids"], new], dim=1), True)
    assert forced["input_ids"].shape == (4, 50)
    assert forced["position_ids"][3, -1] == 7 + 2 - 1
    assert forced["position_ids"][0].tolist() == list(range(50))


def test_true_float64_keeps_what_model_code_would_round_away() -> None:
    scores = torch.tensor([[0.1, 1e-12, -torch.finfo(torch.float64).max]], dtype=torch.float64)
    exact = torch.softmax(scores, -1)
    assert not torch.equal(torch.softmax(scores, -1, dtype=torch.float32).double(), exact)
    with TrueFloat64():
        assert torch.equal(torch.softmax(scores, -1, dtype=torch.float32), exact)
        assert scores.float().dtype == scores.to(torch.float32).dtype == torch.float64
        masked = torch.full((1, 4), torch.finfo(torch.float64).min, dtype=torch.float64)
        assert torch.softmax(masked, -1, dtype=torch.float32).isfinite().all()
    assert torch.softmax(masked, -1, dtype=torch.float32).isnan().all()


def test_true_float64_is_the_default_too_but_logarithms_sort_into_the_buckets_of_float32() -> None:
    distance = torch.tensor([3.0], dtype=torch.float64)
    with TrueFloat64():
        assert torch.full((1,), torch.finfo(torch.float64).min).isfinite().all()
        assert torch.log(distance).dtype == torch.float32
    assert torch.get_default_dtype() == torch.float32
    assert torch.log(distance).dtype == torch.float64


def test_a_load_that_raises_leaves_no_default_dtype_behind() -> None:
    def load_as_4_48_does() -> None:
        with spellings.default_dtype_kept():
            torch.set_default_dtype(torch.bfloat16)
            raise ValueError("no such attention")

    with pytest.raises(ValueError, match="no such attention"):
        load_as_4_48_does()
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
@pytest.mark.parametrize("nested", [False, True])
def test_plain_4_bit_weights_are_what_bitsandbytes_means(quant_type: str, nested: bool) -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    torch.manual_seed(0)
    weight = torch.randn(96, 128)
    packed, state = functional.quantize_4bit(weight, quant_type=quant_type, compress_statistics=nested)
    assert state.nested is nested
    ours = dequantise_4bit(packed, state)
    assert torch.allclose(ours, functional.dequantize_4bit(packed, state).float(), rtol=1e-6, atol=1e-7)
    packed[0] ^= 0x10
    assert not torch.allclose(ours, dequantise_4bit(packed, state))


@pytest.mark.parametrize("outlier", [0.0, 20.0])
def test_plain_int8_linear_is_what_bitsandbytes_computes(outlier: float) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    layer = bitsandbytes.nn.Linear8bitLt(64, 48, bias=True, has_fp16_weights=False, threshold=6.0)
    dense = layer.weight.data.clone()
    layer = layer.to("cpu").eval()
    inputs = torch.randn(5, 64, dtype=torch.float16)
    inputs[2, 7] = outlier
    codes, scales = layer.weight.CB if layer.weight.CB is not None else layer.weight.data, layer.weight.SCB
    codes, scales = codes.clone(), scales.clone()
    plain = PlainInt8Linear(codes, scales, layer.bias.data.half(), 6.0)
    with torch.no_grad():
        theirs = layer(inputs).float()
    assert torch.allclose(plain(inputs).float(), theirs, rtol=2e-3, atol=2e-3)
    assert torch.allclose(dequantise_int8(codes, scales), dense, atol=dense.abs().max().item() / 127)
    if outlier:
        all_quantised = PlainInt8Linear(codes, scales, layer.bias.data.half(), 0.0)
        assert not torch.allclose(all_quantised(inputs).float(), theirs, rtol=2e-3, atol=2e-3)


def test_the_offload_map_covers_every_module_once() -> None:
    model = recipe.build_model("llama", "AutoModelForCausalLM", ARCHITECTURES["llama"].config)
    placed = offload_map(model)
    assert {name for name, place in placed.items() if place == "cpu"} == {"model.layers.1"}
    for name, _ in model.named_parameters():
        assert sum(name.startswith(prefix + ".") for prefix in placed) == 1, name


def logits(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    golden = torch.randn(2, 3, 8, dtype=torch.float64)
    made = {
        "golden": golden,
        "baseline": (golden + 1e-3).float(),
        "candidate": (golden - 2e-3).float(),
        "attended": torch.tensor([[True, True, True], [False, True, True]]),
    }
    return {**made, **changes}


def test_comparison_measures_attended_positions_only() -> None:
    found = compare("logits", dtype=Dtype.FLOAT32, **logits())
    assert found.positions == 5
    assert math.isclose(found.candidate_max, 2e-3, rel_tol=1e-3)
    assert math.isclose(found.baseline_mean, 1e-3, rel_tol=1e-3)
    candidate = logits()["candidate"]
    candidate[1, 0] = float("nan")  # padding
    assert compare("logits", dtype=Dtype.FLOAT32, **logits(candidate=candidate)).finite
    candidate[1, 1, 3] = float("nan")
    assert not compare("logits", dtype=Dtype.FLOAT32, **logits(candidate=candidate)).finite


def test_comparison_notices_dtype_and_shape() -> None:
    assert compare("logits", dtype=Dtype.FLOAT32, **logits()).dtype_matches
    assert not compare("logits", dtype=Dtype.FLOAT16, **logits(baseline=logits()["baseline"].half())).dtype_matches
    assert compare("logits", dtype=Dtype.FLOAT16, **logits()).dtype_matches  # a head that is float32 in eager too
    assert not compare("logits", dtype=Dtype.FLOAT32, **logits(candidate=torch.zeros(2, 2, 8))).shape_matches


def test_regret_is_what_the_choice_costs_and_ignores_banned_tokens() -> None:
    golden = torch.zeros(1, 1, 8, dtype=torch.float64)
    golden[0, 0, 2], golden[0, 0, 5] = 3.0, 1.0
    parts = {"golden": golden, "baseline": golden.float(), "candidate": golden.float()}
    for chosen, banned, regret in ((2, (), 0.0), (5, (), 2.0), (5, (2,), 0.0), (0, (), 3.0)):
        found = compare(
            "decoded logits",
            dtype=Dtype.FLOAT32,
            attended=torch.ones(1, 1, dtype=torch.bool),
            chosen=torch.tensor([[chosen]]),
            banned=banned,
            **parts,
        )
        assert found.regret_max == regret
