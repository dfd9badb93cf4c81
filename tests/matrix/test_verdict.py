"""The truth table: an observation that earns each verdict, and the one change of an input that turns it."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest

from matrix.cell import Cell, parse_cell
from matrix.dials import Reading
from matrix.expectation import SUPPORTED, Expectation
from matrix.observation import Ending, Failure, Observation, Origin, Phase
from matrix.stack import Device
from matrix.verdict import Judgement, Verdict, diagnosis, judge, left_unquantised, weakness
from matrix.waiver import Waiver, load_waivers
from reports.document import Record, make_record
from tests.builders import ABSENT, ARCHITECTURES, HONEST, PROVEN_ABSENT, REFUSAL, REFUSED, completed, read

CELL = parse_cell("llama-bfloat16-sdpa-left-generate")
RIGHT = completed(CELL, comparisons=(replace(HONEST, regret_max=0.5),))
NOT_INSTALLED = Failure(Phase.LOAD, "ImportError", "flash_attn is not installed")
WAIVER = load_waivers(ARCHITECTURES)[0]
OUT_OF_BOUNDS = {"candidate_max": 99.0}


@dataclass(frozen=True)
class Case:
    """Everything that a verdict depends on."""

    observation: Observation
    expectation: Expectation = SUPPORTED
    cell: Cell = CELL
    device: Device = Device.CPU

    def judged(self) -> Judgement:
        return judge(self.cell, ARCHITECTURES[self.cell.architecture], self.observation, self.expectation, self.device)


def compared(case: Case, **changes: Any) -> Case:
    """The case with other numbers."""
    (comparison,) = case.observation.comparisons
    return observed(case, comparisons=(replace(comparison, **changes),))


def evidenced(case: Case, **changes: Any) -> Case:
    """The case with other evidence."""
    return observed(case, evidence=replace(case.observation.evidence, **changes))


def raised(case: Case, **changes: Any) -> Case:
    """The case with another exception."""
    assert case.observation.failure is not None
    return observed(case, failure=replace(case.observation.failure, **changes))


def observed(case: Case, **changes: Any) -> Case:
    """The case with another observation."""
    return replace(case, observation=replace(case.observation, **changes))


def expected(case: Case, expectation: Expectation) -> Case:
    """The case with another expectation."""
    return replace(case, expectation=expectation)


SUPPORTED_CASE = Case(RIGHT)
SUBSTITUTED_CASE = evidenced(SUPPORTED_CASE, sdpa_calls=0, attention_ops={})
INACCURATE_CASE = compared(SUPPORTED_CASE, **OUT_OF_BOUNDS)
UNEXPECTED_CASE = Case(RIGHT, REFUSED)
REFUSED_CASE = Case(Observation(Ending.RAISED, failure=REFUSAL), REFUSED)
ERROR_CASE = Case(Observation(Ending.RAISED, failure=REFUSAL))
ABSENT_CASE = Case(Observation(Ending.NOT_RUN, missing=("cuda",)), ABSENT)
PROVEN_ABSENT_CASE = Case(Observation(Ending.RAISED, failure=NOT_INSTALLED), PROVEN_ABSENT)
CRASHED_CASE = Case(Observation(Ending.CRASHED, failure=Failure(Phase.FORWARD, "ProcessDied", "the process died")))

EARNED = [
    (SUPPORTED_CASE, Verdict.SUPPORTED, "of its bound"),
    (REFUSED_CASE, Verdict.REFUSED, "ValueError in load: Bloom does not support this yet"),
    (ABSENT_CASE, Verdict.UNAVAILABLE, "not here: cuda"),
    (
        PROVEN_ABSENT_CASE,
        Verdict.UNAVAILABLE,
        "not here: flash-attn (ImportError in load: flash_attn is not installed)",
    ),
    (SUBSTITUTED_CASE, Verdict.SUBSTITUTED, "kernels that ran: eager"),
    (INACCURATE_CASE, Verdict.INACCURATE, "logits max error 99 exceeds 3.25"),
    (UNEXPECTED_CASE, Verdict.UNEXPECTED, "ValueError in load matching 'does not support .* yet'"),
    (ERROR_CASE, Verdict.ERROR, "ValueError in load: Bloom does not support this yet"),
    (raised(ERROR_CASE, phase=Phase.REFERENCE), Verdict.NOT_BUILT, "ValueError in reference: Bloom"),
    (compared(SUPPORTED_CASE, baseline_mean=99.0), Verdict.NOT_BUILT, "eager itself is off by 99 on average"),
    (
        evidenced(SUPPORTED_CASE, model_class="LlamaForCausalLM", missing_parameters=("lm_head.weight",)),
        Verdict.INACCURATE,
        "the checkpoint lacks 1 parameters of LlamaForCausalLM, which were drawn at random: lm_head.weight",
    ),
    (
        evidenced(REFUSED_CASE, model_class="LlamaForCausalLM", missing_parameters=("lm_head.weight",)),
        Verdict.REFUSED,
        "ValueError in load",
    ),
    (
        raised(
            ERROR_CASE,
            module="model.layers.1.mixer",
            module_class="Mixer",
            frames=("a.py:1 f", "b.py:2 g"),
            causes=("KeyError: k",),
        ),
        Verdict.ERROR,
        "yet, in model.layers.1.mixer (Mixer) at b.py:2 g; caused by KeyError: k",
    ),
    (raised(ERROR_CASE, phase=Phase.BUILD), Verdict.NOT_BUILT, "ValueError in build: Bloom"),
    (CRASHED_CASE, Verdict.CRASHED, "ProcessDied in forward: the process died"),
    (observed(CRASHED_CASE, ending=Ending.TIMEOUT), Verdict.TIMEOUT, "in forward"),
    (observed(CRASHED_CASE, ending=Ending.OUT_OF_MEMORY), Verdict.OUT_OF_MEMORY, "in forward"),
    (observed(CRASHED_CASE, ending=Ending.DEVICE_LOST), Verdict.DEVICE_LOST, "in forward"),
    (Case(Observation(Ending.CRASHED)), Verdict.CRASHED, "the run crashed"),
]


@pytest.mark.parametrize(("case", "verdict", "words"), EARNED, ids=[f"{row[1]}: {row[2][:30]}" for row in EARNED])
def test_an_observation_earns_its_verdict_and_says_why(case: Case, verdict: Verdict, words: str) -> None:
    judgement = case.judged()
    assert judgement.verdict is verdict
    assert words in judgement.reason


def test_what_a_checkpoint_lacks_has_shapes_and_says_that_there_are_more() -> None:
    names = tuple(f"layer.{number}" for number in range(7))
    case = evidenced(
        SUPPORTED_CASE,
        missing_parameters=names,
        mismatched_parameters=("layer.0: (8, 4) is (8, 6)",),
        unexpected_parameters=("pooler",),
    )
    reason = case.judged().reason
    assert "layer.4, …; of another shape: layer.0: (8, 4) is (8, 6)" in reason
    assert reason.endswith("it has 1 that the class does not use: pooler")


def test_every_verdict_of_the_judge_is_in_the_table() -> None:
    """`flaky` comes of a second run and `missing` of no run: neither is the judge's."""
    assert {verdict for _, verdict, _ in EARNED} == set(Verdict) - {Verdict.FLAKY, Verdict.MISSING}


TURNS = [
    # from supported
    ("max out of bounds", SUPPORTED_CASE, compared(SUPPORTED_CASE, candidate_max=3.5), Verdict.INACCURATE),
    ("mean out of bounds", SUPPORTED_CASE, compared(SUPPORTED_CASE, candidate_mean=0.75), Verdict.INACCURATE),
    ("regret out of bounds", SUPPORTED_CASE, compared(SUPPORTED_CASE, regret_max=6.75), Verdict.INACCURATE),
    ("NaN", SUPPORTED_CASE, compared(SUPPORTED_CASE, candidate_max=math.nan), Verdict.INACCURATE),
    ("not finite", SUPPORTED_CASE, compared(SUPPORTED_CASE, finite=False), Verdict.INACCURATE),
    ("other shape", SUPPORTED_CASE, compared(SUPPORTED_CASE, shape_matches=False), Verdict.INACCURATE),
    ("other dtype", SUPPORTED_CASE, compared(SUPPORTED_CASE, dtype_matches=False), Verdict.INACCURATE),
    ("no position", SUPPORTED_CASE, compared(SUPPORTED_CASE, positions=0), Verdict.INACCURATE),
    ("nothing compared", SUPPORTED_CASE, observed(SUPPORTED_CASE, comparisons=()), Verdict.INACCURATE),
    (
        "second comparison out of bounds",
        SUPPORTED_CASE,
        observed(SUPPORTED_CASE, comparisons=(HONEST, replace(HONEST, candidate_max=99.0))),
        Verdict.INACCURATE,
    ),
    (
        "other attn_implementation",
        SUPPORTED_CASE,
        evidenced(SUPPORTED_CASE, attn_implementations={"LlamaModel": "eager"}),
        Verdict.SUBSTITUTED,
    ),
    ("no kernel", SUPPORTED_CASE, evidenced(SUPPORTED_CASE, attention_ops={}, sdpa_calls=0), Verdict.SUBSTITUTED),
    ("other device", SUPPORTED_CASE, replace(SUPPORTED_CASE, device=Device.CUDA), Verdict.SUBSTITUTED),
    (
        "other kernel named",
        SUPPORTED_CASE,
        replace(SUPPORTED_CASE, cell=parse_cell("llama-bfloat16-sdpa-math-left-generate")),
        Verdict.SUBSTITUTED,
    ),
    (
        "quantisation named",
        SUPPORTED_CASE,
        replace(SUPPORTED_CASE, cell=parse_cell("llama-bfloat16-sdpa-nf4-left-generate")),
        Verdict.SUBSTITUTED,
    ),
    ("refusal documented", SUPPORTED_CASE, expected(SUPPORTED_CASE, REFUSED), Verdict.UNEXPECTED),
    ("absence documented", SUPPORTED_CASE, expected(SUPPORTED_CASE, PROVEN_ABSENT), Verdict.SUPPORTED),
    ("died", SUPPORTED_CASE, observed(SUPPORTED_CASE, ending=Ending.CRASHED), Verdict.CRASHED),
    ("hung", SUPPORTED_CASE, observed(SUPPORTED_CASE, ending=Ending.TIMEOUT), Verdict.TIMEOUT),
    ("no memory", SUPPORTED_CASE, observed(SUPPORTED_CASE, ending=Ending.OUT_OF_MEMORY), Verdict.OUT_OF_MEMORY),
    ("device lost", SUPPORTED_CASE, observed(SUPPORTED_CASE, ending=Ending.DEVICE_LOST), Verdict.DEVICE_LOST),
    ("raised", SUPPORTED_CASE, observed(SUPPORTED_CASE, ending=Ending.RAISED, failure=REFUSAL), Verdict.ERROR),
    ("raised, it is not known what", SUPPORTED_CASE, observed(SUPPORTED_CASE, ending=Ending.RAISED), Verdict.ERROR),
    ("not run", SUPPORTED_CASE, observed(SUPPORTED_CASE, ending=Ending.NOT_RUN), Verdict.UNAVAILABLE),
    # from substituted
    ("and out of bounds", SUBSTITUTED_CASE, compared(SUBSTITUTED_CASE, **OUT_OF_BOUNDS), Verdict.INACCURATE),
    ("and documented as refused", SUBSTITUTED_CASE, expected(SUBSTITUTED_CASE, REFUSED), Verdict.UNEXPECTED),
    (
        "and documented as absent",
        SUBSTITUTED_CASE,
        expected(SUBSTITUTED_CASE, PROVEN_ABSENT),
        Verdict.SUBSTITUTED,
    ),
    # from inaccurate
    ("within bounds", INACCURATE_CASE, compared(INACCURATE_CASE, candidate_max=2.25), Verdict.SUPPORTED),
    ("whatever is documented", INACCURATE_CASE, expected(INACCURATE_CASE, REFUSED), Verdict.INACCURATE),
    ("whatever is absent", INACCURATE_CASE, expected(INACCURATE_CASE, PROVEN_ABSENT), Verdict.INACCURATE),
    # from unexpected
    ("nothing documented", UNEXPECTED_CASE, expected(UNEXPECTED_CASE, SUPPORTED), Verdict.SUPPORTED),
    ("documented, out of bounds", UNEXPECTED_CASE, compared(UNEXPECTED_CASE, **OUT_OF_BOUNDS), Verdict.INACCURATE),
    # from refused
    ("other phase", REFUSED_CASE, raised(REFUSED_CASE, phase=Phase.FORWARD), Verdict.ERROR),
    ("a reference's", REFUSED_CASE, raised(REFUSED_CASE, phase=Phase.REFERENCE), Verdict.NOT_BUILT),
    ("other type", REFUSED_CASE, raised(REFUSED_CASE, type="TypeError"), Verdict.ERROR),
    ("subclass of the type", REFUSED_CASE, raised(REFUSED_CASE, type="UnicodeError"), Verdict.ERROR),
    ("other message", REFUSED_CASE, raised(REFUSED_CASE, message="no"), Verdict.ERROR),
    ("empty message", REFUSED_CASE, raised(REFUSED_CASE, message=""), Verdict.ERROR),
    ("no exception kept", REFUSED_CASE, observed(REFUSED_CASE, failure=None), Verdict.ERROR),
    ("nothing documented", REFUSED_CASE, expected(REFUSED_CASE, SUPPORTED), Verdict.ERROR),
    ("other absence documented", REFUSED_CASE, expected(REFUSED_CASE, PROVEN_ABSENT), Verdict.ERROR),
    ("died of it", REFUSED_CASE, observed(REFUSED_CASE, ending=Ending.CRASHED), Verdict.CRASHED),
    ("hung", REFUSED_CASE, observed(REFUSED_CASE, ending=Ending.TIMEOUT), Verdict.TIMEOUT),
    ("lost the device", REFUSED_CASE, observed(REFUSED_CASE, ending=Ending.DEVICE_LOST), Verdict.DEVICE_LOST),
    # from unavailable
    ("other type", PROVEN_ABSENT_CASE, raised(PROVEN_ABSENT_CASE, type="ValueError"), Verdict.ERROR),
    ("other phase", PROVEN_ABSENT_CASE, raised(PROVEN_ABSENT_CASE, phase=Phase.FORWARD), Verdict.ERROR),
    ("other message", PROVEN_ABSENT_CASE, raised(PROVEN_ABSENT_CASE, message="broken wheel"), Verdict.ERROR),
    ("nothing documented", PROVEN_ABSENT_CASE, expected(PROVEN_ABSENT_CASE, SUPPORTED), Verdict.ERROR),
    (
        "an absence that no error proves",
        PROVEN_ABSENT_CASE,
        expected(PROVEN_ABSENT_CASE, ABSENT),
        Verdict.ERROR,
    ),
    ("died of it", PROVEN_ABSENT_CASE, observed(PROVEN_ABSENT_CASE, ending=Ending.CRASHED), Verdict.CRASHED),
    # from error
    ("documented", ERROR_CASE, expected(ERROR_CASE, REFUSED), Verdict.REFUSED),
]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [row[1:] for row in TURNS],
    ids=[f"{row[1].judged().verdict}, {row[0]}" for row in TURNS],
)
def test_one_changed_input_turns_the_verdict(before: Case, after: Case, verdict: Verdict) -> None:
    differing = [
        name
        for name in ("observation", "expectation", "cell", "device")
        if getattr(before, name) != getattr(after, name)
    ]
    assert len(differing) == 1
    assert after.judged().verdict is verdict


def test_a_reason_is_one_line_however_long_the_message() -> None:
    long = raised(ERROR_CASE, message="\n first\nsecond\n" + "x" * 9000)
    assert long.judged().reason == "ValueError in load: first"
    assert len(raised(ERROR_CASE, message="x" * 9000).judged().reason) < 400


@pytest.mark.parametrize(
    ("expectation", "failure", "verdict"),
    [
        (REFUSED, REFUSAL, Verdict.REFUSED),
        (PROVEN_ABSENT, Failure(Phase.LOAD, "ImportError", "it is not installed"), Verdict.UNAVAILABLE),
    ],
)
def test_a_documented_cause_stands_in_the_reason(expectation: Expectation, failure: Failure, verdict: Verdict) -> None:
    documented = replace(expectation, cause="mslk")
    caused = replace(failure, causes=("ImportError: Requires mslk\nand more",))
    found = Case(Observation(Ending.RAISED, failure=caused), documented).judged()
    assert found.verdict is verdict
    assert "caused by ImportError: Requires mslk" in found.reason
    assert "and more" not in found.reason
    other = replace(failure, causes=("ImportError: Requires fbgemm",))
    found = Case(Observation(Ending.RAISED, failure=other), documented).judged()
    assert found.verdict is Verdict.ERROR
    assert "with a cause matching 'mslk'" in found.reason


def test_an_error_that_is_not_the_documented_one_names_both() -> None:
    reason = raised(REFUSED_CASE, type="TypeError").judged().reason
    assert reason.startswith("TypeError in load: Bloom")
    assert "documented was ValueError in load matching 'does not support .* yet'" in reason


GREEN = {Verdict.SUPPORTED, Verdict.REFUSED, Verdict.UNAVAILABLE}


def recorded(verdict: Verdict, waiver: Waiver | None = None) -> Record:
    judgement = Judgement(verdict, "why")
    return make_record(CELL, judgement=judgement, expectation=SUPPORTED, observation=RIGHT, waiver=waiver)


@pytest.mark.parametrize("verdict", Verdict)
def test_a_verdict_fails_the_run_unless_it_is_documented_or_waived(verdict: Verdict) -> None:
    assert verdict.is_documented == (verdict in GREEN)
    assert recorded(verdict).fails == (verdict not in GREEN)
    assert not recorded(verdict, WAIVER).fails


@pytest.mark.parametrize("verdict", Verdict)
def test_what_was_required_and_is_not_here_fails_whatever_else_holds(verdict: Verdict) -> None:
    assert recorded(verdict, WAIVER).model_copy(update={"demanded": ["cuda"]}).fails


@pytest.mark.parametrize("verdict", Verdict)
def test_what_did_nothing_on_this_machine_was_not_executed(verdict: Verdict) -> None:
    assert verdict.executed == (verdict not in (Verdict.UNAVAILABLE, Verdict.NOT_BUILT, Verdict.MISSING))


@pytest.mark.parametrize(
    ("wrong_scale", "changes", "weak"),
    [
        (None, {}, False),  # a checkpoint of the user's, or no attention
        (0.0, {}, True),
        (0.34, {}, True),
        (0.36, {}, False),
        (0.34, {"runs": 2}, False),
        (0.34, {"quantised": True}, False),
        (0.34, {"gradients": True}, False),
    ],
)
def test_a_cell_that_could_not_see_a_wrong_scale_says_so(
    wrong_scale: float | None, changes: dict[str, Any], weak: bool
) -> None:
    """HONEST allows a mean error of 0.35."""
    observation = completed(CELL, comparisons=(replace(HONEST, **changes),), wrong_scale=wrong_scale)
    said = list(weakness(observation))
    assert bool(said) is weak
    judgement = judge(CELL, ARCHITECTURES["llama"], observation, SUPPORTED, Device.CPU)
    assert judgement.verdict is Verdict.SUPPORTED
    assert (said[0] in judgement.reason) if weak else ("weak" not in judgement.reason)


@pytest.mark.parametrize(("stacked", "told"), [(0.0, False), (0.09, False), (0.62, True)])
def test_a_cell_that_leaves_experts_unquantised_says_which_and_how_much(stacked: float, told: bool) -> None:
    left = {"model.layers.*.mlp.experts.down_proj": stacked, "lm_head.weight": 0.2}
    evidence = replace(RIGHT.evidence, unquantised_stacked=stacked, unquantised_parameters=left)
    judgement = judge(CELL, ARCHITECTURES["llama"], replace(RIGHT, evidence=evidence), SUPPORTED, Device.CPU)
    assert judgement.verdict is Verdict.SUPPORTED
    assert list(left_unquantised(evidence)) == (
        [
            "left unquantised: 62% of the bytes in stacked parameters, among all that is left "
            "model.layers.*.mlp.experts.down_proj 62%, lm_head.weight 20%"
        ]
        if told
        else []
    )
    assert ("left unquantised" in judgement.reason) is told


def test_dials_and_the_place_where_wrong_numbers_begin_are_one_diagnosis() -> None:
    begins = Origin("", 0, "model.layers.0.self_attn", "LlamaAttention", "padded rows only", 1, 0.1, 0.2, 0, 0, True)
    turned, honest = Reading("scale", "%", 5.0, 0.03, 0.99), Reading("values", "%", 0.0, 0.1, 0.0)
    place = "begins in model.layers.0.self_attn (LlamaAttention): padded rows only"
    assert diagnosis(read(CELL, turned, honest, origin=begins)) == (
        f"softmax scale +5.000 ± 0.030 %: explains 99 % of the error; {place}"
    )
    assert diagnosis(read(CELL, honest, origin=begins)) == f"no dial explains the error; {place}"
    assert diagnosis(read(CELL, turned)) == "softmax scale +5.000 ± 0.030 %: explains 99 % of the error"
    assert diagnosis(completed(CELL, origin=begins)) == ""  # nobody read any: the place stands in the reason
