"""How far a long run is."""

from conformance.plugin.progress import EVERY_SECONDS, Progress


def test_a_long_run_says_now_and_then_how_far_it_is() -> None:
    progress = Progress(1000)
    assert progress.came(fails=False, now=100.0) is None  # that the workers took 100 s is no rate
    told = [progress.came(fails=number == 7, now=100.0 + number / 10) for number in range(1, 700)]
    lines = [line for line in told if line]
    assert lines == [
        "301 of 1,000, 600 a minute, 1 failing, 1 min 10 s left",
        "601 of 1,000, 600 a minute, 1 failing, 40 s left",
    ]


def test_a_short_run_says_nothing_and_a_slow_one_of_few_cells_does() -> None:
    short, slow = Progress(1000), Progress(4)
    assert {short.came(fails=False, now=now * EVERY_SECONDS / 1000) for now in range(1000)} == {None}
    assert [slow.came(fails=False, now=60.0 * minute) for minute in range(3)] == [
        None,
        "2 of 4, 1 a minute, 2 min 00 s left",
        "3 of 4, 1 a minute, 1 min 00 s left",
    ]
