"""A stream made by a thread of its own, a little ahead of whoever takes it."""

import queue
import threading
from contextlib import contextmanager
from typing import Iterator, Optional, TypeVar

T = TypeVar("T")


class _End:
    """What the maker of a stream says last."""

    def __init__(self, error: Optional[BaseException]) -> None:
        self.error = error


@contextmanager
def prefetch(source: Iterator[T], n: int) -> Iterator[Iterator[T]]:
    """The same stream, made by a thread of its own that is at most n items ahead.

    Its error is raised where the item would have come; the thread has ended when the context ends.
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
