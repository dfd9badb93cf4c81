"""Where an exception came from."""

import logging

import pytest
import torch
import transformers

from conformance.evidence.said import said
from conformance.explaining.raised import failure_of
from matrix.observation import Failure, Phase
from tests.builders import ARCHITECTURES


@pytest.fixture
def model():
    architecture = ARCHITECTURES["llama"]
    return transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(architecture.model_type, **architecture.config)
    ).eval()


def failing(model, wrong) -> Failure:
    model.model.layers[1].self_attn.o_proj.forward = wrong
    try:
        model(torch.ones(2, 5, dtype=torch.long))
    except Exception as error:
        return failure_of(error, Phase.FORWARD, [], {})
    raise RuntimeError("nothing was raised")


def test_an_exception_says_module_inputs_and_frames(model) -> None:
    def wrong(hidden):
        return torch.nn.functional.linear(hidden, torch.ones(3, 3))

    found = failing(model, wrong)
    assert (found.module, found.module_class) == ("model.layers.1.self_attn.o_proj", "Linear")
    assert found.inputs == ("hidden: float32 (2, 5, 64) cpu",)
    assert any(frame.startswith("transformers/models/llama/modeling_llama.py:") for frame in found.frames)
    assert not any("_call_impl" in frame or frame.startswith(("conformance", "tests")) for frame in found.frames)
    assert found.causes == ()


def test_an_empty_message_is_the_line_that_raised(model) -> None:
    def wrong(hidden):
        raise AssertionError

    assert failing(model, wrong).message == "(no message) raise AssertionError"


def test_causes_are_told_the_nearest_first(model) -> None:
    def wrong(hidden):
        try:
            raise KeyError("within")
        except KeyError as error:
            raise RuntimeError("without") from error

    assert failing(model, wrong).causes == ("KeyError: 'within'",)


def test_a_cause_that_cannot_be_read_is_told_as_that(model) -> None:
    class Unsayable(Exception):
        def __str__(self) -> str:
            raise ValueError("it does not say")

    def wrong(hidden):
        raise RuntimeError("without") from Unsayable()

    assert failing(model, wrong).causes == ("Unsayable: its message cannot be read, that raises ValueError",)


def test_what_the_load_report_hides_is_a_cause() -> None:
    table = "lm_head.weight | CONVERSION | \n\nTraceback\n  File x\nImportError: Requires fbgemm\n\n\nNotes"
    table += (
        "\nError: TorchAoQuantize on tensors destined for lm_head.weight. Ckpt contains: 1\n"  # which nobody raised
    )
    with said() as warned:
        logging.getLogger("transformers.modeling_utils").warning(f"LlamaForCausalLM LOAD REPORT from: x\n{table}")
    found = failure_of(RuntimeError("issues during automatic conversion"), Phase.LOAD, warned, {})
    assert found.causes == ("ImportError: Requires fbgemm",)


def test_outside_any_module_there_is_none() -> None:
    found = failure_of(ValueError("x"), Phase.LOAD, [], {})
    assert (found.module, found.module_class, found.inputs, found.frames) == ("", "", (), ())
