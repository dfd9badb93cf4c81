"""The search on machines whose times are known."""

import random
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from matrix.advice.choice import choose, front, why_not
from matrix.advice.noise import gain
from matrix.advice.search import (
    FEWEST_ROUNDS,
    Failed,
    Finding,
    Found,
    Known,
    Sample,
    State,
    cost,
    costs,
    search,
    search_again,
    search_all,
)
from matrix.advice.space import Configuration, eager_of, plain_cell
from matrix.advice.wanted import Prefer, Wanted
from matrix.axes import Dtype
from tests.matrix.advice.table import RULES, STACK, Table, model_of

MODEL = model_of()
WANTED = Wanted()


def token_of(seed: int, one: Configuration) -> float:
    """Seconds that are its own: of parts that multiply, and a little that does not."""
    parts = [one.cell.dtype, f"{one.cell.attention} {one.cell.sdpa_kernel}", one.cell.cache, one.cell.transformation]
    parts += [one.cell.quantisation, f"by generate {one.by_generate}"]
    whole = 0.01
    for part in parts:
        whole *= random.Random(f"{seed} {part}").uniform(0.7, 1.4)
    return whole * random.Random(f"{seed} {one.name}").uniform(0.98, 1.02)


def everything(table: Table) -> list[Configuration]:
    """Of the same space every configuration, whatever was measured."""
    found = search(MODEL, WANTED, STACK, RULES, table)
    return list(found.known)


@pytest.mark.parametrize("prefer", [Prefer.LATENCY, Prefer.THROUGHPUT])
@pytest.mark.parametrize("seed", range(12))
def test_what_is_advised_is_within_5_percent_of_the_best_right_one(seed: int, prefer: Prefer) -> None:
    wanted = Wanted(prefer=prefer)
    token = partial(token_of, seed)
    fastest = sorted(everything(Table(token)), key=token)
    wrong = {one.name for one in fastest[:3]} - {MODEL.default.name}
    found = search(MODEL, wanted, STACK, RULES, Table(token, wrong=wrong, noise=0.01, drift=0.02, seed=seed))
    choice = choose(found, MODEL, wanted)
    assert choice is not None
    assert choice.advised.name not in wrong
    right = [one for one in found.known if one.name not in wrong]
    assert token(choice.advised) <= 1.05 * min(map(token, right))


@pytest.mark.parametrize("seed", range(6))
def test_a_wrong_one_is_neither_advised_nor_timed_however_fast_it_is(seed: int) -> None:
    names = [one.name for one in everything(Table(lambda one: 1.0))]
    wrong = set(random.Random(seed).sample([name for name in names if name != MODEL.default.name], 12))
    table = Table(lambda one: 0.001 if one.name in wrong else 0.01, wrong=wrong)
    found = search(MODEL, WANTED, STACK, RULES, table)
    choice = choose(found, MODEL, WANTED)
    assert choice is not None
    assert not wrong & {choice.advised.name, *(one.name for one in choice.alike), *table.timed}
    for one in found.known:
        if one.name in wrong:
            assert why_not(one, found, choice, MODEL, WANTED).startswith("wrong: max error 9")


@pytest.mark.parametrize("seed", range(10))
def test_two_runs_advise_the_same_or_say_that_both_are_within_the_noise(seed: int) -> None:
    token = partial(token_of, seed)
    choices = []
    for run in (0, 1):
        table = Table(token, noise=0.03, drift=0.05, seed=100 * seed + run)
        choices.append(choose(search(MODEL, WANTED, STACK, RULES, table), MODEL, WANTED))
    first, second = choices
    assert first is not None
    assert second is not None
    other = second.advised in first.alike or first.advised in second.alike
    assert first.advised == second.advised or other or token(second.advised) <= 1.05 * token(first.advised)


def test_where_all_are_alike_the_default_is_advised() -> None:
    """An interval of 95 % errs once in twenty times, and a choice looks at a few."""
    tables = [Table(lambda one: 0.01, noise=0.05, seed=seed) for seed in range(10)]
    choices = [choose(search(MODEL, WANTED, STACK, RULES, table), MODEL, WANTED) for table in tables]
    usual = [choice for choice in choices if choice is not None and choice.advised == MODEL.default]
    assert len(usual) >= 8
    assert all(choice.alike and choice.over_default is None for choice in usual)


def test_gains_are_told_over_the_default_and_over_eager() -> None:
    quick = "bfloat16-flash_attention_2"
    times = {quick: 0.01, "bfloat16-eager": 0.03}
    found = search(MODEL, WANTED, STACK, RULES, Table(lambda one: times.get(one.name, 0.02), noise=0.01))
    choice = choose(found, MODEL, WANTED)
    assert choice is not None
    assert choice.advised.name == quick
    assert choice.over_default is not None
    assert choice.over_eager is not None
    assert choice.over_default.low < 2 < choice.over_default.high
    assert choice.over_eager.low < 3 < choice.over_eager.high


def test_memory_and_loss_are_kept_to() -> None:
    four_bits = Table(lambda one: 0.001 if one.cell.quantisation.stored_as else 0.01, loss=0.05)
    found = search(MODEL, WANTED, STACK, RULES, four_bits)
    choice = choose(found, MODEL, WANTED)
    assert choice is not None
    assert not choice.advised.cell.quantisation.stored_as, "it costs more nats than it may"
    bits = next(one for one in found.known if one.cell.quantisation == "nf4")
    assert why_not(bits, found, choice, MODEL, WANTED) == "costs 0.05 nats, of 0.01 that it may cost"
    little = Wanted(memory=2 * 10**9, loss=0.1)
    choice = choose(search(MODEL, little, STACK, RULES, four_bits), MODEL, little)
    assert choice is not None
    assert choice.advised.cell.quantisation.stored_as
    nothing = Wanted(memory=10**6)
    assert choose(search(MODEL, nothing, STACK, RULES, four_bits), MODEL, nothing) is None


def test_of_generated_weights_nothing_quantised_is_advised() -> None:
    model = model_of(reads=False)
    table = Table(lambda one: 0.001 if one.cell.quantisation.stored_as else 0.01)
    table.judge = lambda one: Table.judge(table, one).__class__(State.RIGHT)  # type: ignore[method-assign]
    found = search(model, WANTED, STACK, RULES, table)
    choice = choose(found, model, WANTED)
    assert choice is not None
    assert not choice.advised.cell.quantisation.stored_as
    bits = next(one for one in found.known if one.cell.quantisation == "nf4")
    assert "weights are generated" in why_not(bits, found, choice, model, WANTED)


def test_what_runs_out_of_memory_with_many_rows_is_still_measured_with_few() -> None:
    short = Failed(State.OUT_OF_MEMORY, "asked for 2 GiB")
    wanted = Wanted(prefer=Prefer.THROUGHPUT)
    table = Table(partial(token_of, 1), failing={8: short})
    found = search(MODEL, wanted, STACK, RULES, table)
    choice = choose(found, MODEL, wanted)
    assert choice is not None
    assert found.known[choice.advised].failed[8] is short
    assert found.known[choice.advised].final[1]


def test_when_the_time_is_spent_the_rest_is_said_not_to_be_reached() -> None:
    table = Table(partial(token_of, 2), most=40)
    found = search(MODEL, WANTED, STACK, RULES, table)
    choice = choose(found, MODEL, WANTED)
    assert choice is not None
    assert State.NOT_REACHED in {known.finding.state for known in found.known.values()}
    assert table.calls < 80


def test_checking_measures_what_is_named_alone() -> None:
    table = Table(partial(token_of, 3))
    ones = [MODEL.default, eager_of(MODEL.default, MODEL.architecture)]
    found = search_again(MODEL, WANTED, table, ones)
    assert set(found.known) == set(ones)
    assert choose(found, MODEL, WANTED) is not None


def test_everything_that_is_right_is_measured_in_turns_with_the_first() -> None:
    wrong = "bfloat16-sdpa-mem_efficient"
    table = Table(lambda one: 0.014 if one == MODEL.default else 0.02, wrong={wrong})
    ones = [one for one in everything(table) if not one.cell.quantisation.stored_as]
    found = search_all(MODEL, table, ones, 5, [(WANTED, ones[0])])
    assert set(found.known) == set(ones)
    turns = {one: range(20 * place, 20 * place + 5) for place, one in enumerate(ones) if one.name != wrong}
    for one, own in turns.items():
        expected = [turn for each in turns.values() for turn in each] if one == ones[0] else [*own]
        assert {rows: list(samples) for rows, samples in found.known[one].final.items()} == {1: expected, 8: expected}
    assert not any(known.final for one, known in found.known.items() if one.name == wrong)
    assert wrong in {one.name for one in ones}


@pytest.mark.parametrize(("rows", "rounds"), [((1, 8), 1), ((1,), 5)])
def test_what_is_far_behind_in_all_that_is_preferred_is_measured_once(rows: tuple[int, ...], rounds: int) -> None:
    slow = eager_of(MODEL.default, MODEL.architecture)

    class Slow(Table):
        def time(self, one: Configuration, count: int, new: int, turn: int) -> Sample | Failed:
            self.token = lambda one: 0.016 if one == slow and count in rows else 0.01
            return super().time(one, count, new, turn)

    both = [(WANTED, MODEL.default), (replace(WANTED, prefer=Prefer.THROUGHPUT), MODEL.default)]
    found = search_all(MODEL, Slow(lambda one: 0.01), [MODEL.default, slow], 5, both)
    assert {count: len(samples) for count, samples in found.known[slow].final.items()} == {1: rounds, 8: rounds}
    assert len(found.known[MODEL.default].final[1]) == 5 + rounds


def test_what_is_as_good_as_the_first_is_far_behind_where_another_is_better() -> None:
    """Two were advised, each for something; what is far behind both in what they are for is spared."""
    names = ("bfloat16-sdpa", "bfloat16-flash_attention_2", "bfloat16-eager")
    quick, many, neither = (Configuration(plain_cell(MODEL.architecture, *name.split("-"))) for name in names)
    tokens = {(many, 1): 0.02, (many, 8): 0.005, (neither, 1): 0.02}

    class By(Table):
        def time(self, one: Configuration, rows: int, new: int, turn: int) -> Sample | Failed:
            self.token = lambda one: tokens.get((one, rows), 0.01)
            return super().time(one, rows, new, turn)

    advised = [(WANTED, quick), (replace(WANTED, prefer=Prefer.THROUGHPUT), many)]
    found = search_all(MODEL, By(lambda one: 0.01), [quick, many, neither], 5, advised)
    assert [len(found.known[one].final[8]) for one in (many, neither)] == [5, 1]


@pytest.mark.parametrize(("takes", "rounds"), [(0.0095, 12), (0.013, 3)])
def test_what_may_be_better_by_what_counts_has_more_rounds(takes: float, rounds: int) -> None:
    other = eager_of(MODEL.default, MODEL.architecture)
    table = Table(lambda one: takes if one == other else 0.01, noise=0.03, seed=1)
    found = search_all(MODEL, table, [MODEL.default, other], 3, [(WANTED, MODEL.default)])
    assert {len(samples) for samples in found.known[other].final.values()} == {rounds}


def test_more_rounds_are_for_what_may_be_better_than_what_was_advised_be_the_first_as_slow_as_it_may() -> None:
    names = ("bfloat16-sdpa", "bfloat16-flash_attention_2", "bfloat16-eager")
    first, advised, other = ones = [Configuration(plain_cell(MODEL.architecture, *name.split("-"))) for name in names]
    table = Table(lambda one: {advised: 0.01, other: 0.013}.get(one, 0.0137), noise=0.03, seed=1)
    found = search_all(MODEL, table, ones, 3, [(WANTED, advised)])
    assert len(found.known[other].final[1]) == 3
    found = search_all(MODEL, table, ones, 3, [(WANTED, first)])
    assert len(found.known[other].final[1]) > 3


def test_what_was_held_against_a_third_alone_is_not_called_alike() -> None:
    tokens = {"bfloat16-sdpa": 0.014, "bfloat16-eager": 0.010, "bfloat16-flash_attention_2": 0.012}
    cells = (plain_cell(MODEL.architecture, *name.split("-")) for name in tokens)
    ones = [Configuration(cell) for cell in cells]
    found = search_all(MODEL, Table(lambda one: tokens[one.name]), ones, 3, [(WANTED, ones[0])])
    choice = choose(found, MODEL, WANTED)
    assert choice is not None
    assert (choice.advised, choice.alike) == (ones[1], ())
    said = why_not(ones[2], found, choice, MODEL, WANTED)
    assert said == "slower: about 1.20 times, not measured in the same rounds"


def test_of_one_number_of_rows_one_call_is_not_enough_to_be_far_behind() -> None:
    slow, wanted = eager_of(MODEL.default, MODEL.architecture), Wanted(batches=(1,))
    table = Table(lambda one: 0.02 if one == slow else 0.01)
    found = search_all(MODEL, table, [MODEL.default, slow], 5, [(wanted, MODEL.default)])
    assert len(found.known[slow].final[1]) == 2


def test_a_default_that_is_wrong_is_never_advised() -> None:
    found = search(MODEL, WANTED, STACK, RULES, Table(lambda one: 0.01, wrong={MODEL.default.name}))
    choice = choose(found, MODEL, WANTED)
    assert choice is not None
    assert choice.advised != MODEL.default
    assert choice.over_default is None


def test_finalists_are_measured_in_common_rounds() -> None:
    found = search(MODEL, WANTED, STACK, RULES, Table(partial(token_of, 4), noise=0.02))
    choice = choose(found, MODEL, WANTED)
    assert choice is not None
    advised, default = found.known[choice.advised], found.known[MODEL.default]
    over = gain(costs(advised, WANTED), costs(default, WANTED))
    assert over is not None
    assert over.rounds >= 3
    assert cost(advised, WANTED) <= cost(default, WANTED)


def test_the_front_is_what_nothing_is_better_than() -> None:
    one, two, three = everything(Table(lambda one: 0.01))[:3]
    assert front({one: (1.0, 5.0), two: (2.0, 2.0), three: (2.0, 3.0)}) == {one, two}
    assert front({one: (1.0, 1.0), two: (1.0, 1.0)}) == {one, two}


@dataclass
class Compiling(Table):
    """A machine that compiles for so many calls' time: when it judges, and for each number of rows."""

    compiling: int = 0
    shapes: set[tuple[str, int]] = field(default_factory=set)

    def judge(self, one: Configuration) -> Finding:
        self.calls += self.compiling if one.compiles else 0
        if one.by_generate:  # it is judged in the shapes that are timed
            self.shapes.add((one.name, WANTED.rows[0]))
        return super().judge(one)

    def time(self, one: Configuration, rows: int, new: int, turn: int) -> Sample | Failed:
        self.calls += self.compiling if one.compiles and (one.name, rows) not in self.shapes else 0
        self.shapes.add((one.name, rows))
        return super().time(one, rows, new, turn)


def compiling(calls: int) -> Compiling:
    """One with time for a hundred calls, on which what is compiled is five times as fast."""
    return Compiling(lambda one: 0.002 if one.by_generate else 0.01, most=100, noise=0.1, compiling=calls)


def test_what_compiles_is_tried_as_long_as_there_is_time_to_judge_and_to_time_it() -> None:
    found = search(MODEL, WANTED, STACK, RULES, Compiling(partial(token_of, 5), most=1000, compiling=200))
    compiled = {one: known.finding.state for one, known in found.known.items() if one.compiles}
    reached = [one for one, state in compiled.items() if state is not State.NOT_REACHED]
    assert [one.name for one in reached] == [
        f"bfloat16-{backend}-static-generate_compiles" for backend in ("sdpa", "flash_attention_2")
    ]
    assert len(compiled) > 2


def test_the_fewest_rounds_are_done_though_the_time_is_spent() -> None:
    table = compiling(37)
    found = search(MODEL, WANTED, STACK, RULES, table)
    choice = choose(found, MODEL, WANTED)
    assert choice is not None
    assert table.left() < 0
    assert choice.advised.by_generate, "of one round no noise can be told, and the default would be advised"
    assert len(found.known[choice.advised].final[1]) == FEWEST_ROUNDS


def test_rows_that_do_not_decide_come_last_and_nothing_is_compiled_for_them_without_time() -> None:
    found = search(MODEL, WANTED, STACK, RULES, compiling(44))
    choice = choose(found, MODEL, WANTED)
    assert choice is not None
    assert choice.advised.by_generate
    assert list(found.known[choice.advised].final) == [1]
    assert set(found.known[MODEL.default].final) == set(WANTED.batches) == {1, 8}


def test_other_ways_are_tried_with_the_backend_of_the_library_what_answers_first_and_the_best() -> None:
    """Of which the first is the slowest to decode here, as a GPU that waits for its host may make it."""

    class Straying(Table):
        def time(self, one: Configuration, rows: int, new: int, turn: int) -> Sample | Failed:
            sample = super().time(one, rows, new, turn)
            assert isinstance(sample, Sample)
            first = 0.01 if one.name == "bfloat16-flash_attention_2" else 0.1
            return replace(sample, first=first, whole=first + sample.whole)

    tokens = {"bfloat16-sdpa": 0.05, "bfloat16-flash_attention_2": 0.04, "bfloat16-eager": 0.001}
    found = search(MODEL, WANTED, STACK, RULES, Straying(lambda one: tokens.get(one.name, 0.02)))
    tried = [one.name for one in found.known if one.by_generate and one.cell.dtype is Dtype.BFLOAT16]
    assert tried == [f"{name}-static-generate_compiles" for name in tokens]


def test_where_memory_is_scarce_no_number_of_rows_is_left_out() -> None:
    wanted = Wanted(memory=10**10)
    found = search(MODEL, wanted, STACK, RULES, compiling(25))
    (compiled,) = (known for one, known in found.known.items() if one.by_generate and known.final)
    assert set(compiled.final) == set(wanted.batches)


def test_what_is_compiled_wrongly_for_other_rows_is_not_advised() -> None:
    """Judged with one row it was right."""
    wrong = "bfloat16-sdpa-static-generate_compiles"

    class Miscompiling(Table):
        def time(self, one: Configuration, rows: int, new: int, turn: int) -> Sample | Failed:
            found = super().time(one, rows, new, turn)
            return Failed(State.WRONG, "max error 9 exceeds 1") if one.name == wrong and rows == 8 else found

    table = Miscompiling(lambda one: 0.002 if one.name == wrong else 0.01)
    found = search(MODEL, WANTED, STACK, RULES, table)
    choice = choose(found, MODEL, WANTED)
    assert choice is not None
    (one,) = (one for one in found.known if one.name == wrong)
    assert choice.advised != one
    assert why_not(one, found, choice, MODEL, WANTED) == "wrong: with 8 rows: max error 9 exceeds 1"


def test_what_failed_with_the_rows_that_decide_is_said_and_not_held_against_other_rows() -> None:
    wanted, name = Wanted(prefer=Prefer.THROUGHPUT), "bfloat16-flash_attention_2"

    class Slow(Table):
        def time(self, one: Configuration, rows: int, new: int, turn: int) -> Sample | Failed:
            found = super().time(one, rows, new, turn)
            return Failed(State.TIMEOUT, "no answer after 60 s") if one.name == name and rows == 8 else found

    found = search(MODEL, wanted, STACK, RULES, Slow(lambda one: 0.01))
    (one,) = (one for one in found.known if one.name == name)
    choice = choose(found, MODEL, wanted)
    assert choice is not None
    assert why_not(one, found, choice, MODEL, wanted) == "timeout with 8 rows: no answer after 60 s"


def of_rounds(seconds: dict[str, dict[int, float]]) -> Found:
    """As if these had taken so long in the rounds of the final, one row of them."""
    return Found(
        {
            Configuration(plain_cell(MODEL.architecture, *name.split("-"))): Known(
                Finding(State.RIGHT), final={1: {turn: Sample(0.0, whole, 0, 1) for turn, whole in rounds.items()}}
            )
            for name, rounds in seconds.items()
        }
    )


@pytest.mark.parametrize(("usual", "advised"), [(1.04, "bfloat16-sdpa"), (1.3, "bfloat16-eager")])
def test_who_asks_for_less_is_taken_for_it_only_near_the_best(usual: float, advised: str) -> None:
    """The noise tells neither from the best."""
    best = {0: 0.5, 1: 1.0, 2: 1.5}
    found = of_rounds({"bfloat16-sdpa": {0: 3 * usual - 2, 1: usual / 2, 2: 2 - usual / 2}, "bfloat16-eager": best})
    choice = choose(found, MODEL, Wanted(new=0, batches=(1,)))
    assert choice is not None
    assert len(choice.alike) == 1
    assert choice.advised.name == advised


@dataclass
class Patient(Table):
    """A machine on which judging what is not reached in its wave would take too long then, and does not at the end."""

    kept: float = 0.3  # of the time, when the first final begins
    by_round: float = 0.0  # what each round of a final takes of it
    finals: int = 0
    wrong_with: tuple[str, int] = ("", 0)  # what is wrong with so many rows, as it was compiled for them

    def left(self) -> float:
        return self.kept - self.by_round * self.finals if self.finals else super().left()

    def say(self, line: str) -> None:
        self.finals += line.startswith("final")

    def time(self, one: Configuration, rows: int, new: int, turn: int) -> Sample | Failed:
        found = super().time(one, rows, new, turn)
        return Failed(State.WRONG, "max error 9 exceeds 1") if (one.name, rows) == self.wrong_with else found


LATE = "bfloat16-sdpa-static-generate_compiles"


def hurried(wanted: Wanted = WANTED, **changes: object) -> tuple[Found, Patient]:
    """Waves that end at once; what nobody reached in them is by far the best."""
    table = Patient(lambda one: 0.001 if one.name == LATE else 0.01, most=20, noise=0.01, **changes)  # type: ignore[arg-type]
    return search(MODEL, wanted, STACK, RULES, table), table


def test_what_was_not_reached_is_tried_after_the_final_while_there_is_time() -> None:
    found, _ = hurried()
    choice = choose(found, MODEL, WANTED)
    assert choice is not None
    assert choice.advised.name == LATE
    assert choice.over_default is not None
    assert choice.over_default.low > 5
    assert choice.over_eager is not None
    assert choice.over_eager.told
    assert not choice.alike
    assert set(found.known[choice.advised].final) == set(WANTED.batches)
    rounds = {turn for known in found.known.values() for turns in known.final.values() for turn in turns}
    assert all(set(known.final[1]) == rounds for known in found.known.values() if known.final)
    for one in found.known:
        assert not why_not(one, found, choice, MODEL, WANTED).startswith(("not timed", "within the noise"))


def test_what_is_tried_late_and_wrong_with_other_rows_is_not_advised() -> None:
    choice = choose(hurried(wrong_with=(LATE, 8))[0], MODEL, WANTED)
    assert choice is not None
    assert choice.advised == MODEL.default


def test_where_what_was_tried_late_is_no_better_the_final_stands() -> None:
    table = Patient(lambda one: 0.01 if one == MODEL.default else 0.02, most=20, noise=0.01)
    found = search(MODEL, WANTED, STACK, RULES, table)
    assert State.NOT_REACHED not in {known.finding.state for known in found.known.values()}
    assert 0 in found.known[MODEL.default].final[1]


def test_a_final_for_which_there_is_no_time_is_not_begun() -> None:
    found, table = hurried(kept=1.85, by_round=0.15)
    assert LATE in table.timed
    assert 0 in found.known[MODEL.default].final[1], "the first stands"
    assert choose(found, MODEL, WANTED) is not None


def test_where_nothing_that_was_reached_may_be_advised_the_rest_is_tried() -> None:
    wanted = Wanted(memory=2 * 10**9, loss=0.1)
    choice = choose(hurried(wanted, kept=0.9)[0], MODEL, wanted)
    assert choice is not None
    assert choice.advised.cell.quantisation.stored_as


def test_nothing_is_begun_at_the_very_end() -> None:
    found, table = hurried(kept=0.05)
    assert LATE not in table.timed
    assert State.NOT_REACHED in {known.finding.state for known in found.known.values()}


def test_rounds_go_on_until_the_best_is_told_from_all() -> None:
    """From the next it is told at once; a third that strays is as good, for all that three rounds say."""
    tokens = {"bfloat16-sdpa": 0.010, "bfloat16-eager": 0.012, "bfloat16-flash_attention_2": 0.0125}

    class Straying(Table):
        def time(self, one: Configuration, rows: int, new: int, turn: int) -> Sample | Failed:
            stopped = one.name == "bfloat16-flash_attention_2" and turn == 0
            self.token = lambda one: tokens.get(one.name, 9.0) * (4 if stopped else 1)
            return super().time(one, rows, new, turn)

    found = search(MODEL, WANTED, STACK, RULES, Straying(lambda one: 9.0))
    assert len(found.known[MODEL.default].final[1]) > FEWEST_ROUNDS


def test_one_call_that_is_not_far_behind_is_enough_for_the_other_rounds() -> None:
    other, wanted = eager_of(MODEL.default, MODEL.architecture), Wanted(batches=(1,))

    class OnceSlow(Table):
        def time(self, one: Configuration, rows: int, new: int, turn: int) -> Sample | Failed:
            self.token = lambda one: 0.02 if one == other and turn == 20 else 0.01
            return super().time(one, rows, new, turn)

    found = search_all(MODEL, OnceSlow(lambda one: 0.01), [MODEL.default, other], 5, [(wanted, MODEL.default)])
    assert len(found.known[other].final[1]) >= 5


def test_what_was_advised_needs_no_more_rounds_to_be_told_from_itself() -> None:
    other = eager_of(MODEL.default, MODEL.architecture)
    for advised, rounds in ((other, 3), (MODEL.default, 12)):
        table = Table(lambda one: 0.01, noise=0.2, seed=1)
        found = search_all(MODEL, table, [MODEL.default, other], 3, [(WANTED, advised)])
        assert len(found.known[other].final[1]) == rounds
