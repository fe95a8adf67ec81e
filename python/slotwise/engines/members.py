"""The endpoints of a scheduler, listed again only when they have changed."""

from __future__ import annotations

from .. import _core


class Members:
    """Which endpoints join and leave a pool, between one look and the next.

    A look at an unchanged pool costs **O(1)**, and **O(endpoints)** after a change.
    """

    def __init__(self, scheduler: _core.Scheduler) -> None:
        self._scheduler = scheduler
        self._membership: int | None = None
        self.names: dict[int, str] = {}
        """The names of the endpoints by their ids, at the last look."""

    def look(self) -> tuple[dict[int, str], dict[int, str]]:
        """The names of those that joined, and of those that left, since the last look.

        An endpoint with another name has left and joined: its URL is another one.
        """
        # Read before the names: a change in between is found by the next look.
        membership = self._scheduler.membership
        if membership == self._membership:
            return {}, {}
        before, self.names = self.names, self._scheduler.endpoint_names()
        self._membership = membership
        return _missing(self.names, before), _missing(before, self.names)


def _missing(names: dict[int, str], others: dict[int, str]) -> dict[int, str]:
    """The names that the others lack."""
    return {id: name for id, name in names.items() if others.get(id) != name}
