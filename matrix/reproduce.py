"""A standalone script for one cell: needs only torch and transformers, fit for an upstream issue."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from jinja2.nodes import TemplateData

from matrix.architectures import Architecture, Kind
from matrix.axes import DeviceMap, Dtype, Quantisation, Transformation, Workload
from matrix.cell import Cell
from matrix.oracle import GRADIENTS, QUANTISED, UNQUANTISED

_ROOT = Path(__file__).parent.parent

# Modules that need only torch and transformers are carried along as they stand, so that the script
# runs the very code of the suite.
_CARRIED = ("recipe", "precision", "quantised", "placement", "batches", "relations", "training")


def reproducing_script(cell: Cell, architecture: Architecture, checkpoint: str | None = None, seed: int = 0) -> str:
    """The text of a script that runs the cell on its fixture, or on `checkpoint`, and prints what happens.

    It prints the phase and exception that end it, or the errors of candidate and baseline against golden
    with their bounds, the kernels that ran and the classes of linear modules.
    """
    return "".join(text for text, _ in script_pieces(cell, architecture, checkpoint, seed))


def script_pieces(
    cell: Cell, architecture: Architecture, checkpoint: str | None = None, seed: int = 0
) -> Iterator[tuple[str, bool]]:
    """The same script in pieces, each with whether it stands in the template as it is.

    The scripts of many cells are few sequences of such pieces with short ones of their own between them.
    """
    template, standing = _template()
    pieces = template.generate(
        cell=cell,
        architecture=architecture,
        config=dict(architecture.config),
        checkpoint=checkpoint,
        carried={name: _body(name) for name in _needed(cell)},
        quantised=cell.quantisation is not Quantisation.NONE,
        int8=cell.quantisation is Quantisation.INT8,
        quant_type="fp4" if cell.quantisation is Quantisation.FP4 else "nf4",
        double_quant=cell.quantisation is Quantisation.NF4_DOUBLE_QUANT,
        golden_dtype="float64" if cell.dtype is Dtype.FLOAT32 else "float32",
        seed=seed,
        generates=cell.workload is Workload.GENERATE,
        encoder_decoder=architecture.kind is Kind.ENCODER_DECODER,
        relation=cell.workload.is_relation,
        trains=cell.workload is Workload.TRAIN,
        transformed=cell.transformation is not Transformation.NONE,
        gradient_tolerance=GRADIENTS,
        reloads=cell.workload is Workload.RELOAD,
        static=cell.workload is Workload.STATIC_CACHE,
        moves=cell.workload is Workload.PLACEMENT_INVARIANCE,
        backend=cell.sdpa_kernel.sdp_backend,
        device_map={DeviceMap.GPU0: {"": 0}, DeviceMap.AUTO: "auto"}.get(cell.device_map),
        offloads=cell.device_map is DeviceMap.CPU_OFFLOAD,
        runs=2 if cell.workload.is_relation else 1,
        tolerance=UNQUANTISED if cell.quantisation is Quantisation.NONE else QUANTISED,
    )
    for piece in pieces:
        yield piece, piece in standing


@cache
def _template() -> tuple[Template, frozenset[str]]:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is Python, and every value in it is passed through repr
    )
    name = "reproduce.py.jinja"
    source = (Path(__file__).parent / name).read_text(encoding="utf-8")
    standing = frozenset(node.data for node in environment.parse(source).find_all(TemplateData))
    return environment.get_template(name), standing


def _needed(cell: Cell) -> list[str]:
    needed = {
        "recipe": True,
        "precision": True,
        "quantised": cell.quantisation is not Quantisation.NONE,
        "placement": cell.device_map is DeviceMap.CPU_OFFLOAD,
        "batches": True,
        "relations": cell.workload.is_relation or cell.workload is Workload.TRAIN,
        "training": cell.workload is Workload.TRAIN,
    }
    return [name for name in _CARRIED if needed[name]]


@cache
def _body(name: str) -> str:
    """A module's text without its docstring and the imports that the script has already."""
    text = (_ROOT / "conformance" / "measure" / f"{name}.py").read_text(encoding="utf-8")
    lines = text.split('"""', 2)[2].splitlines()
    kept = [line for line in lines if not line.startswith(("import ", "from "))]
    return "\n".join(kept).strip()
