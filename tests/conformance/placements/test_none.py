"""The device_map `none`."""

from conformance.placements.none import placing


def test_what_from_pretrained_is_given() -> None:
    assert placing("none", lambda: None) == {}
