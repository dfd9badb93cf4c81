from dataclasses import replace

import pytest

from matrix.advice.space import (
    Absence,
    Configuration,
    backends_first,
    departures,
    in_fewer_bits,
    in_the_other_half,
    padding_of,
    plain_cell,
    ways_to_run,
)
from matrix.advice.wanted import Prefer, Wanted
from matrix.axes import Attention, Dtype, SdpaKernel
from tests.builders import ARCHITECTURES, make_stack
from tests.matrix.advice.table import RULES, STACK, model_of


def test_every_backend_is_tried_or_said_not_to_be() -> None:
    model = model_of()
    tried, untried = backends_first(model, STACK, RULES)
    assert tried[0] == model.default
    cells = [one.cell for one in (*tried, *(one.configuration for one in untried))]
    backends = {(cell.dtype, cell.attention, cell.sdpa_kernel) for cell in cells}
    others = set(Attention) - {Attention.FLEX_ATTENTION}
    assert {(Dtype.BFLOAT16, one, SdpaKernel.UNPINNED) for one in others} <= backends
    assert {(Dtype.BFLOAT16, Attention.SDPA, one) for one in SdpaKernel} <= backends
    absent = {one.configuration.name: one.absence for one in untried}
    assert absent["bfloat16-flash_attention_3"] is Absence.NOT_HERE
    assert "bfloat16-flash_attention_2" not in absent


def test_a_gpu_tries_one_half_with_every_backend_and_the_best_of_them_in_the_other() -> None:
    model = model_of()
    first, _ = backends_first(model, STACK, RULES)
    assert {one.cell.dtype for one in first} == {Dtype.BFLOAT16}
    plain = Configuration(plain_cell(model.architecture, "float32", "eager"))
    other, _ = in_the_other_half([plain, *first], model, STACK, RULES)
    assert [one.name for one in other] == [one.name.replace("bfloat16", "float16") for one in first[:2]]
    for none_right in ([], [plain]):
        every, _ = in_the_other_half(none_right, model, STACK, RULES)
        assert {one.name for one in every[1:]} == {one.name.replace("bfloat16", "float16") for one in first}
    on_a_cpu, _ = backends_first(model, make_stack(), RULES)
    assert {one.cell.dtype for one in on_a_cpu} == set(Dtype)
    assert in_the_other_half(first, model, make_stack(), RULES) == ((), ())


def test_of_what_comes_in_float32_a_gpu_tries_the_default_alone() -> None:
    usual = Configuration(plain_cell(ARCHITECTURES["bert"], "float32", "sdpa"))
    first, _ = backends_first(replace(model_of("bert"), default=usual), STACK, RULES)
    assert [one.name for one in first if one.cell.dtype is not Dtype.BFLOAT16] == ["float32-sdpa"]


def test_what_records_graphs_is_tried_before_what_does_not() -> None:
    ways, _ = ways_to_run([model_of().default], model_of(), Wanted(), STACK, RULES)
    assert ways[0].name == "bfloat16-sdpa-static-generate_compiles"
    assert not [one for one in ways if one.cell.transformation == "reduce_overhead"], "generate does so by itself"
    ways, _ = ways_to_run([model_of("bert").default], model_of("bert"), Wanted(new=0), STACK, RULES)
    assert ways[0].name == "bfloat16-sdpa-reduce_overhead"


def test_without_flash_attn_its_backend_is_not_here() -> None:
    tried, untried = backends_first(model_of(), make_stack(), RULES)
    assert not [one for one in tried if one.cell.attention is Attention.FLASH_ATTENTION_2]
    assert "needs flash-attn" in {one.why for one in untried}


def test_a_model_is_not_written_anew_in_a_format_to_be_advised() -> None:
    tried, untried = in_fewer_bits(model_of().default, model_of(), STACK, RULES)
    formats = [one.cell.quantisation for one in (*tried, *(one.configuration for one in untried))]
    assert {"nf4", "torchao_int8", "quanto_int8"} <= set(formats)
    assert not [one for one in formats if one.written]


def test_names_are_unique_and_say_what_departs() -> None:
    model, wanted = model_of(), Wanted()
    first, _ = backends_first(model, STACK, RULES)
    ways, _ = ways_to_run(first[:2], model, wanted, STACK, RULES)
    bits, _ = in_fewer_bits(first[0], model, STACK, RULES)
    everything = [*first, *ways, *bits]
    assert len({one.name for one in everything}) == len(set(everything)) == len(everything)
    names = {one.name for one in everything}
    assert {"bfloat16-sdpa", "bfloat16-sdpa-compiled-static", "bfloat16-sdpa-nf4"} <= names
    assert "bfloat16-sdpa-static-generate_compiles" in names
    assert departures(model.default, model.default) == 0
    assert all(departures(one, model.default) > 0 for one in everything if one != model.default)


def test_a_cache_that_is_offloaded_is_tried_where_memory_is_scarce_alone() -> None:
    model = model_of()
    for wanted, expected in ((Wanted(), False), (Wanted(prefer=Prefer.MEMORY), True), (Wanted(memory=10**9), True)):
        ways, _ = ways_to_run([model.default], model, wanted, STACK, RULES)
        assert any("offloaded" in one.name for one in ways) is expected


def test_an_encoder_has_no_cache_to_choose() -> None:
    model = model_of("bert")
    ways, _ = ways_to_run([model.default], model, Wanted(new=0), STACK, RULES)
    compiled = {"bfloat16-sdpa-compiled", "bfloat16-sdpa-reduce_overhead", "bfloat16-flex_attention"}
    assert {one.name for one in ways} == compiled


def test_what_does_not_fit_is_spread() -> None:
    tried, _ = backends_first(replace(model_of(), fits=False), STACK, RULES)
    assert {one.cell.device_map.name for one in tried[1:]} == {"auto", "cpu_offload"}


@pytest.mark.parametrize(("name", "side"), [("llama", "left"), ("bert", "right"), ("t5", "right")])
def test_rows_are_padded_where_they_can_be(name: str, side: str) -> None:
    assert padding_of(ARCHITECTURES[name]) == side
    one = Configuration(plain_cell(ARCHITECTURES[name], "float32", "eager"))
    assert one.name == "float32-eager"
