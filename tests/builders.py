"""Small pieces that the harness's own tests share: cells, stacks, and what an honest run of a cell leaves behind."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from matrix.architectures import load_architectures
from matrix.axes import Attention, Dtype, SdpaKernel
from matrix.cell import AXES, SILENT, Cell, parse_cell
from matrix.dials import Reading
from matrix.expectation import SUPPORTED, Expectation, Outcome
from matrix.observation import Comparison, Ending, Evidence, Failure, Observation, Phase
from matrix.plan import make_plan
from matrix.stack import Device, Gpu, Stack
from matrix.verdict import Judgement, Verdict
from reports.document import End, Record, Run, make_record
from reports.reading import read_report

ROOT = Path(__file__).parent.parent
ARCHITECTURES = load_architectures()


@cache
def plan(profile: str) -> tuple[Cell, ...]:
    """The cells of a profile, of the suite's own architectures."""
    return tuple(make_plan(profile, ARCHITECTURES))


# The same examples on every machine, and no verdict on how fast it is.
PROPERTY = settings(deadline=None, derandomize=True, database=None, max_examples=100)

H100 = Gpu("NVIDIA H100", 81559, "9.0")

# Errors that are exactly representable, so that a bound can be met on the spot.
HONEST = Comparison(
    "logits",
    positions=8,
    shape_matches=True,
    dtype_matches=True,
    finite=True,
    candidate_max=1.0,
    candidate_mean=0.25,
    baseline_max=1.0,
    baseline_mean=0.25,
    floor_max=0.25,
    floor_mean=0.125,
)

REFUSED = Expectation(Outcome.REFUSED, "a page", Phase.LOAD, "ValueError", "does not support .* yet")
REFUSAL = Failure(Phase.LOAD, "ValueError", "Bloom does not support this yet")
PROVEN_ABSENT = Expectation(
    Outcome.UNAVAILABLE, "a page", Phase.LOAD, "ImportError", "not installed", missing=("flash-attn",)
)
ABSENT = Expectation(Outcome.UNAVAILABLE, "a page", missing=("cuda",))

_SDPA_OPS: dict[SdpaKernel, dict[Device, str]] = {
    SdpaKernel.FLASH: {
        Device.CPU: "aten::_scaled_dot_product_flash_attention_for_cpu",
        Device.CUDA: "aten::_scaled_dot_product_flash_attention",
    },
    SdpaKernel.MEM_EFFICIENT: {Device.CUDA: "aten::_scaled_dot_product_efficient_attention"},
    SdpaKernel.CUDNN: {Device.CUDA: "aten::_scaled_dot_product_cudnn_attention"},
}


def cells() -> st.SearchStrategy[Cell]:
    """Any point of the axes, whether or not it can be built, of any architecture that may be named."""
    made_up = st.builds("{}{}".format, st.sampled_from("abz"), st.text("abz09_", max_size=8))
    return st.builds(
        Cell,
        architecture=st.sampled_from(["sdpa", "nf4", "auto", "prefill"]) | made_up,
        **{axis.name: st.sampled_from(list(axis.values.values())) for axis in AXES.values()},
    )


def make_stack(versions: Mapping[str, str] | None = None, **changes: Any) -> Stack:
    """A CPU stack with torch and transformers, or what else it is told to be."""
    return replace(Stack({"torch": "2.13.0", "transformers": "5.23.0"} | dict(versions or {}), Device.CPU), **changes)


def cuda_stack(versions: Mapping[str, str] | None = None, **changes: Any) -> Stack:
    """The same on one H100."""
    return make_stack(versions, **({"device": Device.CUDA, "gpus": (H100,)} | changes))


def honest_evidence(cell: Cell, device: Device) -> Evidence:
    """What a run leaves behind in which everything was as the cell names it."""
    architecture = ARCHITECTURES.get(cell.architecture)
    evidence = Evidence(
        model_type=architecture.model_type if architecture else cell.architecture,
        attn_implementations={"LlamaModel": cell.attention.value, "LlamaAttention": cell.attention.value},
        linear_classes={"Linear": 15},
        placement={device.value: 21},
    )
    if cell.attention is Attention.SDPA:
        kernel = SdpaKernel.FLASH if cell.sdpa_kernel is SdpaKernel.UNPINNED else cell.sdpa_kernel
        fused = {} if kernel is SdpaKernel.MATH else {_SDPA_OPS[kernel][device]: 2}
        evidence = replace(evidence, sdpa_calls=2, attention_ops=fused)
    elif cell.attention is Attention.FLASH_ATTENTION_2:
        evidence = replace(evidence, attention_ops={"flash_attn::_flash_attn_varlen_forward": 2})
    elif cell.attention is Attention.FLEX_ATTENTION:
        evidence = replace(evidence, flex_calls=2)
    if cell.quantisation != SILENT["quantisation"] and not cell.workload.dequantises:
        evidence = replace(
            evidence,
            linear_classes={cell.quantisation.module or "Linear": 14, "Linear": 1},
            unquantised_linear=("lm_head", *(f"layers.0.{name}" for name in cell.quantisation.skips)),
            quantised_formats=(cell.quantisation.stored_as,),
            quantised_ops={f"{namespace}::a_gemm": 14 for namespace in cell.quantisation.ops},
        )
    if cell.architecture == "t5" and cell.dtype is not Dtype.FLOAT32:
        evidence = replace(
            evidence, foreign_parameters={"float32": ("encoder.block.0.layer.1.DenseReluDense.wo.weight",)}
        )
    if cell.workload.decodes:
        evidence = replace(evidence, caches=(f"{cell.cache.title()}Cache",))
    if cell.device_map == "cpu_offload":
        evidence = replace(evidence, hf_device_map={"model.layers.0": "0", "model.layers.1": "cpu"})
    elif cell.device_map not in ("none", "auto", "gpu0"):
        on_gpu = device is Device.CUDA and cell.device_map != "cpu_disk"
        near, far = ("0", "disk" if cell.device_map == "disk" else "cpu") if on_gpu else ("cpu", "disk")
        places = {"model.layers.0": near, "model.layers.1": far}
        waiting = {"cuda" if on_gpu else "cpu": 12, "meta": 9}
        evidence = replace(evidence, hf_device_map=places, placement=waiting)
    return evidence


def completed(cell: Cell, device: Device = Device.CPU, **changes: Any) -> Observation:
    """A run that was right in every respect."""
    whole = Observation(Ending.COMPLETED, comparisons=(HONEST,), evidence=honest_evidence(cell, device))
    return replace(whole, **changes)


def read(cell: Cell, *readings: Reading, **changes: Any) -> Observation:
    """The same with what its dials read."""
    return completed(cell, comparisons=(replace(HONEST, readings=readings),), **changes)


def make_run(*planned: str, **changes: Any) -> Run:
    """The first line of records.jsonl."""
    given: dict[str, Any] = {"stack": make_stack(), "profile": "smoke", "planned": list(planned)} | changes
    return Run(started=datetime(2026, 1, 2, tzinfo=UTC), **given)


def record_of(
    cell_id: str,
    verdict: Verdict = Verdict.SUPPORTED,
    reason: str = "because",
    *,
    expectation: Expectation = SUPPORTED,
    observation: Observation | None = None,
    **changes: Any,
) -> Record:
    """A record with this verdict."""
    cell = parse_cell(cell_id)
    seen = completed(cell) if observation is None else observation
    made = make_record(cell, judgement=Judgement(verdict, reason), expectation=expectation, observation=seen)
    return made.model_copy(update=changes)


def toml_table(kind: str, table: Mapping[str, str | None]) -> str:
    """One `[[kind]]` table. Values are TOML already; None leaves the key out."""
    lines = [f"{key} = {value}" for key, value in table.items() if value is not None]
    return "\n".join([f"[[{kind}]]", *lines, "", ""])


def read_back(path: Path) -> tuple[Run, list[Record], list[str]]:
    """What a records.jsonl holds: the run, the records that are in it, what could not be read."""
    report = read_report(path)
    return report.run, [record for record in report.records if record.verdict is not Verdict.MISSING], report.unreadable


def ended(*problems: str) -> End:
    """The end of a run that found these problems."""
    return End(finished=datetime(2026, 11, 22, tzinfo=UTC), problems=list(problems))
