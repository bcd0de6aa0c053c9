"""Several processes, one per device, that train each network together (`run --devices`)."""

from __future__ import annotations

from typing import TypeVar

from torch import distributed

Value = TypeVar("Value")


def first() -> bool:
    """Whether this process writes files and prints: it is the only one, or the first of several."""
    return not _several() or distributed.get_rank() == 0


def agreed(value: Value) -> Value:
    """The first process's value, in every process; all processes must call this at the same point."""
    if not _several():
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def leave() -> bool:
    """End the work together; whether this was the first process."""
    was_first = first()
    if _several():
        distributed.destroy_process_group()
    return was_first


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
