"""Many small fits over the cores: one thread each, none of them split by the linear algebra.

BLAS libraries split every product over all cores and wait for each other in between. With
products as small as ours, or with cores that other programs use too, they mostly wait.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")
R = TypeVar("R")

MOST = 8
"""Threads at most: each holds its own copy of the samples that it works on."""


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def each(
    fn: Callable[[T], R], items: Iterable[T], most: int = MOST
) -> Iterator[tuple[T, R]]:
    """Every item with what `fn` makes of it, in their order, several at once.

    An error in one ends all. Nested calls share no threads: do not call it from `fn`.
    """
    items = list(items)
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(min(most, cores(), max(len(items), 1))) as pool,
    ):
        futures = [pool.submit(fn, item) for item in items]
        try:
            for item, future in zip(items, futures, strict=True):
                yield item, future.result()
        finally:
            for future in futures:
                future.cancel()
