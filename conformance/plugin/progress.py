"""How far a long run is, told now and then."""

from dataclasses import dataclass

EVERY_SECONDS = 30.0


@dataclass
class Progress:
    """The records of a run, counted as they come.

    Args:
        planned: how many there will be.
    """

    planned: int
    began: float = 0.0  # when the first came, in seconds of any clock
    done: int = 0
    failing: int = 0
    last_told: float | None = None

    def came(self, *, fails: bool, now: float) -> str | None:
        """What to tell at this record: nothing, but every EVERY_SECONDS from the first record on."""
        self.done += 1
        self.failing += fails
        if self.last_told is None:  # until now the workers started: that is no measure of what is to come
            self.began, self.last_told = now, now
            return None
        if now - self.last_told < EVERY_SECONDS:
            return None
        self.last_told = now
        rate = (self.done - 1) / (now - self.began)  # the first came when the clock began
        left = (self.planned - self.done) / rate
        failing = f", {self.failing:,} failing" if self.failing else ""
        return f"{self.done:,} of {self.planned:,}, {60 * rate:,.0f} a minute{failing}, {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
