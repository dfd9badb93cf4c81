"""What this environment can try: GPUs, attention kernels, quantisers, caches, and what would make the rest available.

Told by the rules of the suite, so that it is what a run would say of a Llama in bfloat16. Pure, and without torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from matrix.axes import Attention
from matrix.caches import CACHES
from matrix.cell import AXES, SILENT, Cell, make_cell
from matrix.expectation import Expectation, Outcome, Rule, expect
from matrix.quantisers import QUANTISATIONS
from matrix.stack import DISTRIBUTIONS, Device, Gpu, Stack
from matrix.transformations import TRANSFORMATIONS

# Releases with which what needs them was tried; of what nobody here tried, the oldest that a library asks for.
TRIED = {
    "accelerate": "1.15.0",
    "bitsandbytes": "0.50.2",
    "flash-attn": "2.8.3",
    "hqq": "0.2.8.post1",
    "optimum-quanto": "0.2.7",
    "torchao": "0.18.0",
}
ASKED_FOR = {"mslk": "1.0.0"}
_BESIDE = {
    "cuda": "an NVIDIA GPU with its driver, and a torch built for CUDA",
    "compiler": "a C++ compiler on the PATH",
    "kernels": "the kernels that this transformers asks for (0.16 for 5.17.0, from 0.18.2 below 0.19 for 5.24.0)",
    "flash-attn-3": "flash-attn-3 (built from the folder hopper of the flash-attention repository)",
}
_WITH = {"dtype": "bfloat16", "attention": "sdpa", "workload": "generate"}
_PLACED = {"quantisation": {"device_map": "auto"}}  # without a map some are made on the CPU, where they cannot be
_SOME_GPU = Gpu("some GPU", 81_559, "9.0")


class State(StrEnum):
    """Whether something can be tried here."""

    HERE = "yes"
    REFUSED = "refused"  # all that it needs is here, and the library documents that it raises
    MISSING = "no"


@dataclass(frozen=True)
class Finding:
    """One value of an axis, and what stands in its way."""

    name: str
    about: str
    state: State
    why: str = ""  # of what is missing how it would come, of what is refused where that is documented


def examined(axis: str, names: Sequence[str], stack: Stack, rules: Sequence[Rule]) -> Iterator[Finding]:
    """What the rules say of these values of an axis: of cells of a Llama in bfloat16 through SDPA with one of them."""
    for name in names:
        cell = make_cell("llama", **{**_WITH, axis: name}, **_PLACED.get(axis, {}))
        about = getattr(AXES[axis].values[name], "about", "")
        needs, then = needed(cell, stack, rules)
        refused = f"refused: {then.source}" if then.outcome is Outcome.REFUSED else ""
        if needs:
            why = f"needs {'; '.join(map(remedy, needs))}{f'; then {refused}' if refused else ''}"
            yield Finding(name, about, State.MISSING, why)
        else:
            yield Finding(name, about, State.REFUSED if refused else State.HERE, then.source if refused else "")


def needed(cell: Cell, stack: Stack, rules: Sequence[Rule]) -> tuple[list[str], Expectation]:
    """What the stack lacks for a cell, one thing coming to light behind another, and what is expected once it is there.

    What is refused without a GPU and not with one lacks a GPU.
    """
    needs: list[str] = []
    while True:
        expectation = expect(cell, stack, rules)
        lacking = [name for name in expectation.missing if name not in needs]
        if expectation.outcome is Outcome.REFUSED and "cuda" not in needs and stack.device is Device.CPU:
            with_gpu = expect(cell, _with(stack, ["cuda"]), rules)
            lacking = ["cuda"] if with_gpu.outcome is not Outcome.REFUSED else []
        if not lacking:
            return needs, expectation
        needs += lacking
        stack = _with(stack, lacking)


def _with(stack: Stack, names: Sequence[str]) -> Stack:
    """The stack with these requirements as well."""
    versions = {name: TRIED.get(name, ASKED_FOR.get(name, "1")) for name in names if name in DISTRIBUTIONS}
    found = replace(stack, versions={**stack.versions, **versions}, compiler=stack.compiler or "compiler" in names)
    return replace(found, device=Device.CUDA, gpus=(_SOME_GPU,)) if "cuda" in names else found


def remedy(missing: str) -> str:
    """What would make a requirement available: `torchao 0.18.0 (pip install torchao==0.18.0)`."""
    if missing in _BESIDE:
        return _BESIDE[missing]
    if missing in TRIED:
        return f"{missing} {TRIED[missing]} (pip install {missing}=={TRIED[missing]})"
    oldest = f">={ASKED_FOR[missing]}" if missing in ASKED_FOR else ""
    return f"{missing}{oldest} (pip install '{missing}{oldest}')" if oldest else f"{missing} (pip install {missing})"


def diagnosis(stack: Stack, rules: Sequence[Rule]) -> Iterator[str]:
    """The lines of the report."""
    yield "libraries: " + (", ".join(f"{name} {version}" for name, version in stack.versions.items()) or "none")
    yield "GPUs"
    for gpu in stack.gpus:
        yield f"  {gpu.name}, compute capability {gpu.capability}, {gpu.memory_mib:,} MiB"
    if not stack.gpus:
        built = "the torch here is built for the CPU" if not stack.cuda else "this torch is built for CUDA"
        yield f"  none that torch can use: needs {_BESIDE['cuda']} ({built})" if "torch" in stack.versions else "  none"
    lacking = [name for name in ("torch", "transformers") if name not in stack.versions]
    if lacking:
        yield f"nothing can be tried: needs {'; '.join(map(remedy, lacking))}"
        return
    parts = (
        ("attention", "attention", list(Attention)),
        ("quantisers", "quantisation", [name for name, room in QUANTISATIONS.items() if room.stored_as]),
        ("caches", "cache", list(CACHES)),
        ("transformations", "transformation", [name for name in TRANSFORMATIONS if name != SILENT["transformation"]]),
    )
    for title, axis, names in parts:
        yield title
        findings = list(examined(axis, names, stack, rules))
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            said = f"{finding.about}: {finding.why}" if finding.about and finding.why else finding.about or finding.why
            yield f"  {finding.state:7}  {finding.name:{width}}  {said}".rstrip()
