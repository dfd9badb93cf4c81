"""What int8 costs in quality beside other formats: what C7 is judged by."""

from collections.abc import Mapping
from pathlib import Path

from conformance.bench import Bench
from conformance.judging.comparison import quantisation_cost
from conformance.judging.found import OneRun
from conformance.judging.references import References
from matrix.architectures import Architecture
from matrix.cell import parse_cell
from matrix.claims import Quality
from matrix.observation import QuantisationCost
from matrix.stack import Device

# Decoders whose linear layers are all quantised, with eager attention, which all have: kernels are not in question.
FIXTURES = ("llama", "opt", "bloom")
DTYPES = ("float16", "bfloat16")
FORMATS = ("none", "int8", "fp4", "nf4")


def measure_quality(
    device: Device,
    architectures: Mapping[str, Architecture],
    fixture_cache: Path,
    fixtures: tuple[str, ...] = FIXTURES,
) -> list[Quality]:
    """The suite's own cells, padded prefills of its fixtures, which have outlier features as trained models do.

    A cell that does not complete has no figure.
    """
    seen: list[QuantisationCost] = []

    def keep(run: OneRun, references: References) -> None:
        # Where nothing is quantised golden is the same model in float32, and the cost that of the dtype.
        golden = run.pick(references(run.forced, golden=True))
        seen.append(quantisation_cost(candidate=run.logits, unquantised=golden, attended=run.attended))

    bench = Bench(device=device, architectures=architectures, fixture_cache=fixture_cache, on_found=keep)
    found = []
    for name in fixtures:
        for dtype in DTYPES:
            for form in FORMATS:
                seen.clear()
                quantised = "" if form == "none" else f"-{form}"
                cost = bench.run(parse_cell(f"{name}-{dtype}-eager{quantised}-left-prefill")).quantisation_cost
                if form == "none" and seen:
                    cost = seen[-1]
                if cost is not None:
                    found.append(Quality(name, dtype, form, cost.kl_mean, cost.top1_agreement))
    return found
