"""The device_map `none`."""

from conformance.placements.none import device_map


def test_what_from_pretrained_is_given() -> None:
    assert device_map(lambda: None) is None
