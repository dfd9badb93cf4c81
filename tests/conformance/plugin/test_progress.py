"""How far a long run is."""

from conformance.plugin.progress import EVERY_SECONDS, FEWEST, Progress


def test_a_long_run_says_now_and_then_how_far_it_is() -> None:
    progress = Progress(1000)
    assert progress.came(fails=False, now=100.0) is None  # that the workers took 100 s is no rate
    told = [progress.came(fails=number == 7, now=100.0 + number / 10) for number in range(1, 700)]
    lines = [line for line in told if line]
    assert lines == [
        "301 of 1,000, 10.0 a second, 1 failing, 1 min 10 s left",
        "601 of 1,000, 10.0 a second, 1 failing, 40 s left",
    ]


def test_a_short_run_says_nothing() -> None:
    progress = Progress(FEWEST - 1)
    assert {progress.came(fails=False, now=now * EVERY_SECONDS * 2) for now in range(10)} == {None}
