"""What follows from the cluster's picture alone is worked out once for each picture."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from koboldfs.interfaces import ILiveView
from koboldfs.model.view import View

T = TypeVar("T")

#: Answers kept: for each class as many as there are sets of devices that a store takes;
#: in a large cluster they are more, and are worked out again.
MAX_REMEMBERED = 4096


class Remembered(Generic[T]):
    """`work_out`, called with hashable arguments, which may depend on nothing but
    these and the view."""

    def __init__(self, live: ILiveView, work_out: Callable[..., T]) -> None:
        self._live = live
        self._work_out = work_out
        self._view: View | None = None
        self._known: dict[tuple[Hashable, ...], T] = {}

    def __call__(self, *arguments: Hashable) -> T:
        """What `work_out` says."""
        view = self._live.view
        if view is not self._view or len(self._known) >= MAX_REMEMBERED:
            self._view, self._known = view, {}
        try:
            return self._known[arguments]
        except KeyError:
            answer = self._known[arguments] = self._work_out(*arguments)
            return answer
