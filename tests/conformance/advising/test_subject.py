"""What is advised can be pasted: an argument as it is spelled is the argument."""

from typing import Any

import pytest
import torch

from conformance.advising.subject import spelled
from conformance.rooms import doing
from matrix.cell import make_cell
from matrix.quantisers import QUANTISATIONS

ON_THE_FLY = [name for name, one in QUANTISATIONS.items() if one.stored_as and not one.written]


@pytest.mark.parametrize("name", ON_THE_FLY)
def test_what_is_spelled_is_what_was_given(name: str) -> None:
    package = QUANTISATIONS[name].family
    pytest.importorskip({"quanto": "optimum.quanto"}.get(package, package))
    cell = make_cell("llama", dtype="bfloat16", attention="sdpa", quantisation=name, workload="prefill")
    given = doing(cell).load_arguments(cell.quantisation, torch.bfloat16)["quantization_config"]
    text, imports = spelled(given)
    known: dict[str, Any] = {}
    exec("\n".join(imports), known)
    pasted = eval(text, known)
    assert type(pasted) is type(given)
    assert pasted.to_dict() == given.to_dict()


def test_what_is_no_configuration_is_written_as_it_is() -> None:
    assert spelled("auto") == ('"auto"', [])
    assert spelled({"model": 0, "lm_head": "cpu"}) == ("{'model': 0, 'lm_head': 'cpu'}", [])
