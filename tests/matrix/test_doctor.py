"""What an environment can try, and what would make the rest available."""

import pytest

from matrix.doctor import State, diagnosis, examined, remedy
from matrix.expectation import load_rules
from matrix.quantisers import QUANTISATIONS
from matrix.stack import Stack
from tests.builders import ARCHITECTURES, cuda_stack, make_stack

RULES = load_rules(ARCHITECTURES)
LIBRARIES = {"accelerate": "1.15.0", "torchao": "0.18.0"}


def found(axis: str, name: str, stack: Stack) -> tuple[State, str]:
    (finding,) = examined(axis, [name], stack, RULES)
    return finding.state, finding.why


@pytest.mark.parametrize(
    ("axis", "name", "stack", "state", "words"),
    [
        ("attention", "sdpa", make_stack(), State.HERE, ""),
        ("attention", "flash_attention_2", make_stack(), State.MISSING, "flash-attn==2.8.3"),
        ("attention", "flash_attention_2", make_stack({"flash-attn": "2.8.3"}), State.MISSING, "needs an NVIDIA GPU"),
        ("attention", "flash_attention_2", cuda_stack({"flash-attn": "2.8.3"}), State.HERE, ""),
        ("quantisation", "torchao_int8", make_stack(), State.MISSING, "torchao==0.18.0"),
        ("quantisation", "torchao_int8", make_stack(LIBRARIES), State.HERE, ""),
        ("quantisation", "torchao_int4", make_stack(LIBRARIES), State.MISSING, "mslk>=1.0.0"),
        ("quantisation", "torchao_int4_tiles", make_stack(LIBRARIES), State.MISSING, "a torch built for CUDA"),
        ("quantisation", "torchao_int4_tiles", cuda_stack(LIBRARIES), State.HERE, ""),
        ("quantisation", "hqq4", make_stack({**LIBRARIES, "hqq": "0.2.8"}), State.REFUSED, "pull/42167"),
        ("quantisation", "quanto_int8", make_stack(LIBRARIES), State.MISSING, "optimum-quanto==0.2.7"),
        ("transformation", "compiled", make_stack(), State.HERE, ""),
        ("transformation", "hub_kernels", make_stack(), State.MISSING, "from 0.18.2 below 0.19 for 5.24.0"),
        ("transformation", "hub_kernels", make_stack({"kernels": "0.17.2"}), State.MISSING, "from 0.18.2 below 0.19"),
    ],
)
def test_what_is_missing_is_named(axis: str, name: str, stack: Stack, state: State, words: str) -> None:
    seen, why = found(axis, name, stack)
    assert seen is state
    assert words in why if words else not why


def test_what_lacks_one_thing_behind_another_names_them_all() -> None:
    _, why = found("quantisation", "torchao_int4", make_stack())
    assert why.index("torchao==0.18.0") < why.index("mslk>=1.0.0")
    _, why = found("attention", "flash_attention_2", make_stack())
    assert why.index("flash-attn==2.8.3") < why.index("NVIDIA")
    _, why = found("quantisation", "hqq4", make_stack())
    assert why.index("pip install hqq") < why.index("then refused: ")


def test_every_quantiser_has_a_line_and_what_it_needs_a_remedy() -> None:
    lines = list(diagnosis(make_stack(), RULES))
    for name, room in QUANTISATIONS.items():
        if room.stored_as:
            (line,) = (line for line in lines if line.split()[1:2] == [name])
            assert line.startswith("  no")
            assert all(remedy(need) in line for need in room.needs)


def test_gpus_are_listed_with_what_they_can() -> None:
    assert any("compute capability 9.0" in line for line in diagnosis(cuda_stack(), RULES))
    cpu = "\n".join(diagnosis(make_stack(), RULES))
    assert "none that torch can use" in cpu
    assert "built for the CPU" in cpu


def test_without_torch_nothing_can_be_tried() -> None:
    bare = make_stack()
    lines = list(diagnosis(Stack({}, bare.device), RULES))
    assert lines[-1] == "nothing can be tried: needs torch (pip install torch); transformers (pip install transformers)"
