"""Computes the items of a stream in a separate thread, a few ahead of the consumer."""

import queue
import threading
from contextlib import contextmanager
from typing import Iterator, Optional, TypeVar

T = TypeVar("T")


class _End:
    """Marks the end of a stream, with the producer's error if it failed."""

    def __init__(self, error: Optional[BaseException]) -> None:
        self.error = error


@contextmanager
def prefetch(source: Iterator[T], n: int) -> Iterator[Iterator[T]]:
    """The same stream, computed in a separate thread that is at most n items ahead.

    An error in the source is raised in place of the item. The thread has ended when the context exits.
    """
    items: queue.Queue[object] = queue.Queue(maxsize=n)
    stop = threading.Event()

    def put(item: object) -> None:
        while not stop.is_set():
            try:
                items.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def make() -> None:
        error: Optional[BaseException] = None
        try:
            for item in source:
                put(item)
                if stop.is_set():
                    return
        except BaseException as e:
            error = e
        put(_End(error))

    def take() -> Iterator[T]:
        while True:
            item = items.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item  # type: ignore[misc]

    thread = threading.Thread(target=make, name="renderer", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stop.set()
        thread.join()
