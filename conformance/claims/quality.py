"""What int8 costs in quality beside other formats: what C7 is judged by."""

from collections.abc import Mapping
from pathlib import Path

from conformance.measure.compare import quantisation_cost
from conformance.measure.run import Bench, Logits
from matrix.architectures import Architecture
from matrix.axes import Quantisation
from matrix.cell import parse_cell
from matrix.claims import Quality
from matrix.stack import Device

# Decoders whose linear layers are all quantised, with eager attention, which all have: kernels are not in question.
FIXTURES = ("llama", "opt", "bloom")
DTYPES = ("float16", "bfloat16")
FORMATS = (Quantisation.NONE, Quantisation.INT8, Quantisation.FP4, Quantisation.NF4)


def measure_quality(
    device: Device,
    architectures: Mapping[str, Architecture],
    fixture_cache: Path,
    fixtures: tuple[str, ...] = FIXTURES,
) -> list[Quality]:
    """The suite's own cells, padded prefills of its fixtures, which have outlier features as trained models do.

    A cell that does not complete has no figure.
    """
    seen: list[Logits] = []
    bench = Bench(device=device, architectures=architectures, fixture_cache=fixture_cache, on_logits=seen.append)
    found = []
    for name in fixtures:
        for dtype in DTYPES:
            for form in FORMATS:
                seen.clear()
                quantised = "" if form is Quantisation.NONE else f"-{form}"
                cost = bench.run(parse_cell(f"{name}-{dtype}-eager{quantised}-left-prefill")).quantisation_cost
                if form is Quantisation.NONE and seen:
                    # Nothing is quantised: golden is the same model in float32, and the cost that of the dtype.
                    logits = seen[-1]
                    cost = quantisation_cost(
                        candidate=logits.candidate, unquantised=logits.golden, attended=logits.attended
                    )
                if cost is not None:
                    found.append(Quality(name, dtype, form.value, cost.kl_mean, cost.top1_agreement))
    return found
