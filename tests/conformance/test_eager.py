"""What is kept of eager attention: the same twice, and other wherever the bytes, the code or the defaults are."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.llama import modeling_llama

from conformance.eager import NotHere, watch
from matrix.architectures import Architecture, load_architectures
from reports.document import EagerTrace
from reports.eager import Finding, compare_traces
from tests.sessions import run_pytest

LLAMA = load_architectures()["llama"]
BERT = load_architectures()["bert"]
WEIGHT = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def usual(cache: Path) -> EagerTrace:
    return watch(LLAMA, cache)


def findings(before: EagerTrace, after: EagerTrace) -> list[Finding]:
    return [one.finding for one in compare_traces(before, after)[1]]


def copied(cache: Path, trace: EagerTrace, folder: Path) -> Path:
    """The bytes of a trace, with what goes into them, in a cache of their own."""
    shutil.copytree(cache / trace.fixture, folder / trace.fixture)
    shutil.copy(cache / f"{trace.fixture}.inputs.json", folder)
    return folder / trace.fixture


def test_it_is_the_same_twice_and_small(cache: Path, usual: EagerTrace) -> None:
    again = watch(LLAMA, cache)
    unmeasured = {"seconds", "peak_mib"}
    assert again.model_dump(exclude=unmeasured) == usual.model_dump(exclude=unmeasured)
    assert compare_traces(usual, again) == (0.0, ())
    assert len(usual.model_dump_json()) < 4000
    assert (len(usual.numbers), usual.shape, usual.padding) == (192, [4, 144, 256], "left")
    assert usual.spread == pytest.approx(2.0, abs=0.3)
    assert [len(row) for row in usual.tokens] == [4, 4, 4, 4]
    assert (usual.missing, usual.unexpected, usual.renamed, usual.unsaved, usual.failures) == ([], [], [], [], {})
    assert usual.generation["do_sample"] == "false"


def test_an_encoder_generates_nothing(cache: Path) -> None:
    trace = watch(BERT, cache)
    assert (trace.tokens, trace.generation, trace.failures) == ([], {}, {})
    assert trace.numbers


def test_a_weight_under_another_name_is_lost_and_what_is_computed_moves(
    cache: Path, usual: EagerTrace, tmp_path: Path
) -> None:
    """What a release does that renames a parameter and does not say so."""
    file = copied(cache, usual, tmp_path) / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.0.self_attn.query.weight"] = tensors.pop(WEIGHT)
    save_file(tensors, file, {"format": "pt"})
    trace = watch(LLAMA, tmp_path, name=usual.fixture)
    assert (trace.missing, trace.unexpected) == ([WEIGHT], ["model.layers.0.self_attn.query.weight"])
    as_if_same = trace.model_copy(update={"files": usual.files})
    assert findings(usual, trace)[:2] == [Finding.WEIGHTS_LOST, Finding.OTHER_BYTES]
    assert findings(usual, as_if_same)[:2] == [Finding.WEIGHTS_LOST, Finding.MOVED]


def test_of_more_names_than_a_trace_holds_a_digest_tells_whether_they_are_the_same(
    cache: Path, usual: EagerTrace, tmp_path: Path
) -> None:
    file = copied(cache, usual, tmp_path) / "model.safetensors"
    tensors = load_file(file)
    lists = []
    for last in ("x49", "x50"):  # beyond what is listed
        odd = {name: torch.zeros(1) for name in [*(f"x{number:02}" for number in range(49)), last]}
        save_file(tensors | odd, file, {"format": "pt"})
        lists.append(watch(LLAMA, tmp_path, name=usual.fixture))
    one, other = lists
    assert one.unexpected == other.unexpected == [*(f"x{number:02}" for number in range(39)), "... and 11 more"]
    assert one.digests["unexpected"] != other.digests["unexpected"]
    assert compare_traces(one, other.model_copy(update={"files": one.files}))[1][0].finding is Finding.WEIGHTS_LOST


def test_classes_that_a_head_rules_out_are_not_in_the_spread(
    cache: Path, usual: EagerTrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = transformers.LlamaForCausalLM.forward

    def ruling_out(self: torch.nn.Module, *args: object, **kwargs: object) -> object:
        found = honest(self, *args, **kwargs)
        found.logits[..., 0] = torch.finfo(torch.float32).min
        return found

    monkeypatch.setattr(transformers.LlamaForCausalLM, "forward", ruling_out)
    assert watch(LLAMA, cache).spread == pytest.approx(usual.spread, rel=0.05)


def test_another_shape_is_lost_too(cache: Path, usual: EagerTrace, tmp_path: Path) -> None:
    file = copied(cache, usual, tmp_path) / "model.safetensors"
    tensors = load_file(file)
    tensors[WEIGHT] = torch.zeros(3, 3)
    save_file(tensors, file, {"format": "pt"})
    trace = watch(LLAMA, tmp_path, name=usual.fixture)
    assert trace.mismatched == [WEIGHT] or "load" in trace.failures  # 5.x refuses it unless told otherwise


def test_another_scale_in_the_code_moves_the_same_bytes(
    cache: Path, usual: EagerTrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = modeling_llama.eager_attention_forward

    def scaled(*args: object, scaling: float, **kwargs: object) -> object:
        return honest(*args, scaling=scaling * 1.01, **kwargs)

    monkeypatch.setattr(modeling_llama, "eager_attention_forward", scaled)
    moved, found = compare_traces(usual, watch(LLAMA, cache))
    assert [one.finding for one in found] == [Finding.MOVED]
    assert moved is not None
    assert 1e-3 < moved < 1


def test_a_row_that_sees_its_padding_moves(cache: Path, usual: EagerTrace, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = modeling_llama.eager_attention_forward

    def unmasked(module: object, q: object, k: object, v: object, attention_mask: object, **kwargs: object) -> object:
        future = torch.full((144, 144), torch.finfo(torch.float32).min).triu(1)[None, None]
        return honest(module, q, k, v, future if getattr(q, "shape", (0,) * 4)[2] == 144 else attention_mask, **kwargs)

    monkeypatch.setattr(modeling_llama, "eager_attention_forward", unmasked)
    assert findings(usual, watch(LLAMA, cache))[0] is Finding.MOVED


def test_another_default_of_generate_is_seen(cache: Path, usual: EagerTrace, tmp_path: Path) -> None:
    file = copied(cache, usual, tmp_path) / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"repetition_penalty": 1.5}))
    trace = watch(LLAMA, tmp_path, name=usual.fixture).model_copy(update={"files": usual.files})
    found = compare_traces(usual, trace)[1]
    assert Finding.DEFAULTS in [one.finding for one in found]
    assert any("repetition_penalty: 1.0 -> 1.5" in one.words for one in found)


def test_names_that_saving_changes_are_seen(cache: Path, usual: EagerTrace, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = transformers.PreTrainedModel.save_pretrained

    def saved(model: torch.nn.Module, folder: str, **kwargs: object) -> None:
        honest(model, folder, **kwargs)
        file = Path(folder) / "model.safetensors"
        tensors = load_file(file)
        tensors["model.renamed"] = tensors.pop(WEIGHT)
        save_file(tensors, file, {"format": "pt"})

    monkeypatch.setattr(transformers.PreTrainedModel, "save_pretrained", saved)
    trace = watch(LLAMA, cache)
    assert (trace.unsaved, trace.renamed) == ([WEIGHT], ["model.renamed"])
    assert findings(usual, trace) == [Finding.SAVED]


@pytest.mark.parametrize("step", ["from_pretrained", "forward", "generate", "save_pretrained"])
def test_what_is_raised_is_a_part_of_the_trace(
    cache: Path, usual: EagerTrace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise KeyError("gone")

    owner = transformers.AutoModelForCausalLM if step == "from_pretrained" else transformers.LlamaForCausalLM
    monkeypatch.setattr(owner, step, refuse)
    trace = watch(LLAMA, cache)
    assert "KeyError: 'gone'" in trace.failures.values()
    assert findings(usual, trace)[0] is Finding.NOT_LOADED


def test_what_goes_in_stands_beside_the_bytes_and_is_not_read_off_the_next_release(
    cache: Path, usual: EagerTrace, tmp_path: Path
) -> None:
    copied(cache, usual, tmp_path)
    inputs = {**json.loads((tmp_path / f"{usual.fixture}.inputs.json").read_text())["inputs"], "highest": 9}
    other: Architecture = LLAMA.__class__(**{**vars(LLAMA), "inputs": inputs})
    assert watch(other, tmp_path, name=usual.fixture).inputs == usual.inputs
    (tmp_path / f"{usual.fixture}.inputs.json").unlink()
    assert watch(other, tmp_path, name=usual.fixture).inputs != usual.inputs


def test_bytes_that_are_not_here_are_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotHere, match="llama-0123456789ab is not in --fixture-cache"):
        watch(LLAMA, tmp_path, name="llama-0123456789ab")
    assert list(tmp_path.iterdir()) == []


def test_a_type_that_this_release_does_not_know_is_not_here(tmp_path: Path) -> None:
    unknown: Architecture = LLAMA.__class__(**{**vars(LLAMA), "model_type": "nobody"})
    with pytest.raises(NotHere, match=r"no fixture of it can be made: ValueError: .*nobody"):
        watch(unknown, tmp_path)


def test_memory_is_counted_from_where_it_is_asked() -> None:
    """In a process of its own: what else a worker of the tests holds may be given back in between."""
    asked = """
from conformance.plugin.usage import peak_host_mib, start_peak_anew
counts = start_peak_anew()
before = peak_host_mib()
bytearray(64 * 2**20)
peak = peak_host_mib()
start_peak_anew()
print(counts, peak - before, peak_host_mib() - before)
"""
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    if said[0] == "False":
        pytest.skip("this system does not let a process count anew")
    assert float(said[1]) >= 60 > float(said[2])


def test_a_run_keeps_it_and_another_loads_what_the_first_has_loaded(tmp_path: Path) -> None:
    """As two releases do that share a cache: another seed makes other bytes, unless it is told of the first's."""
    chosen = ("-n", "0", "--profile=smoke", "--cells=architecture=llama,gpt2")
    first = run_pytest(tmp_path / "a", *chosen, tests="conformance/test_eager.py", real=True)
    assert first.status == 0
    before = {row.name: row.eager for row in first.report.rows}
    assert set(before) == {"llama", "gpt2"}
    told = (*chosen, "--seed=1", f"--fixtures-of={tmp_path / 'a'}", "-k", "llama")
    second = run_pytest(tmp_path / "b", *told, tests="conformance/test_eager.py", real=True)
    (row,) = second.report.rows
    assert before["llama"] is not None
    assert row.eager is not None
    assert compare_traces(before["llama"], row.eager) == (0.0, ())
    assert "--fixtures-of" in second.report.run.options
    refused = run_pytest(tmp_path / "c", *chosen, f"--fixtures-of={tmp_path / 'nowhere'}", tests="conformance")
    assert refused.status == 4
    assert "nowhere: No such file" in refused.output
