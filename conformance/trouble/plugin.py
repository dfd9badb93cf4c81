"""A pytest plugin: whoever measures a cell, in this run or again alone, meets the trouble that is planted there."""

from conformance.plugin import afresh, measuring
from conformance.trouble.orders import Orders
from conformance.trouble.planting import plant

_ORDERS = Orders.here().line()
_make = measuring.Measure._make_bench


def _make_planted(self: measuring.Measure) -> None:
    plant(_ORDERS)
    _make(self)


measuring.Measure._make_bench = _make_planted  # type: ignore[method-assign]
# Not by its environment: a trouble may be that this is gone.
afresh._CODE = f"from conformance.trouble.planting import plant; plant({_ORDERS!r}); {afresh._CODE}"
