"""What made a GPU slower is read from its driver's counters, and told where it may show."""

import pytest

from matrix.clocks import counted, slowed, slower

SAID = """<?xml version="1.0" ?>
<nvidia_smi_log><gpu id="0">
  <clocks_event_reasons><clocks_event_reason_sw_power_cap>Active</clocks_event_reason_sw_power_cap></clocks_event_reasons>
  <clocks_event_reasons_counters>
    <clocks_event_reasons_counters_sw_power_capping>2500000 us</clocks_event_reasons_counters_sw_power_capping>
    <clocks_event_reasons_counters_sw_therm_slowdown>100000 us</clocks_event_reasons_counters_sw_therm_slowdown>
    <clocks_event_reasons_counters_hw_thermal_slowdown>200000 us</clocks_event_reasons_counters_hw_thermal_slowdown>
    <clocks_event_reasons_counters_sync_boost>7 us</clocks_event_reasons_counters_sync_boost>
    <clocks_event_reasons_counters_hw_power_braking>N/A</clocks_event_reasons_counters_hw_power_braking>
  </clocks_event_reasons_counters>
</gpu></nvidia_smi_log>"""


def test_counters_are_added_up_by_what_they_mean() -> None:
    assert counted(SAID) == {"its power limit": 2.5, "its temperature": pytest.approx(0.3)}


@pytest.mark.parametrize("said", ["", "<nvidia_smi_log/>", "No devices were found"])
def test_a_driver_that_does_not_count_says_nothing(said: str) -> None:
    assert counted(said) == {}


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (
            {"its power limit": 2.5},
            {"its power limit": 8.5},
            ["the GPU lowered its clocks for its power limit in 10% of the time"],
        ),
        ({"its power limit": 2.5}, {"its power limit": 3.0}, []),
        ({}, {"its temperature": 50.0}, []),  # of what was not counted before nobody knows when it was
    ],
)
def test_what_held_for_a_share_of_the_time_is_told(
    before: dict[str, float], after: dict[str, float], lines: list[str]
) -> None:
    assert list(slower(before, after, 60.0)) == lines


def test_without_nvidia_smi_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matrix.clocks.shutil.which", lambda name: None)
    assert slowed() == {}
