"""One file per strategy; each takes an order as its customer sends it and returns what the customer is told."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from loadtests.lab.means import Means, Strategy
from loadtests.lab.strategies.batch import Batch
from loadtests.lab.strategies.for_update import ForUpdate
from loadtests.lab.strategies.multilock import MultiLocked
from loadtests.lab.strategies.optimistic import Optimistic
from loadtests.lab.strategies.split import Split

FIVE: Mapping[str, Callable[[Means], Strategy]] = MappingProxyType(
    {
        "multilock": MultiLocked,
        "for-update": ForUpdate,
        "split": Split,
        "batch": Batch,
        "optimistic": Optimistic,
    }
)
VARIANTS: Mapping[str, Callable[[Means], Strategy]] = MappingProxyType(
    {
        "multilock-unsorted": partial(MultiLocked, is_sorted=False),
        "for-update-unsorted": partial(ForUpdate, is_sorted=False),
    }
)
BY_NAME = {**FIVE, **VARIANTS}
SETTLE_LATER = ("batch",)  # their answer is not the end: a settler works beside the customers
