"""Who plays and who waits: one visitor has the engine, the others stand in line and know their place.

A visitor whose connection is lost keeps the place for a while; others pass only to play, never to wait.
"""

from __future__ import annotations

from typing import Protocol


class InLine(Protocol):
    """What stands in the line."""

    @property
    def connected(self) -> bool: ...
    def place(self, position: int) -> None:
        """Hear the place in line: 1 = next. Called whenever it changes."""

    def turn(self) -> None:
        """Hear that it is this one's turn."""


class Line:
    """Used on the event loop only. ``longest``: how many may wait."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.active: InLine | None = None
        self._waiting: list[InLine] = []
        self._told: dict[int, int] = {}

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def wanted(self) -> bool:
        """Whether somebody who is there waits for a turn."""
        return any(visitor.connected for visitor in self._waiting)

    def join(self, visitor: InLine) -> bool:
        """Take the last place, or the turn if nobody has it; False when the line is full."""
        if visitor is self.active or visitor in self._waiting:
            self._told.pop(id(visitor), None)  # it came back, and must hear its place again
        elif self.active is not None and len(self._waiting) >= self.longest:
            return False
        else:
            self._waiting.append(visitor)
        self._advance()
        return True

    def leave(self, visitor: InLine) -> None:
        """Give up the place or the turn."""
        if visitor is self.active:
            self.active = None
        elif visitor in self._waiting:
            self._waiting.remove(visitor)
        self._told.pop(id(visitor), None)
        self._advance()

    def pass_on(self) -> None:
        """The active visitor goes to the end of the line, if somebody waits."""
        if self.active is not None and self.wanted:
            before, self.active = self.active, None
            self._waiting.append(before)
            self._advance()

    def _advance(self) -> None:
        if self.active is None:
            following = next((visitor for visitor in self._waiting if visitor.connected), None)
            if following is not None:
                self._waiting.remove(following)
                self._told.pop(id(following), None)
                self.active = following
                following.turn()
        for position, visitor in enumerate(self._waiting, start=1):
            if visitor.connected and self._told.get(id(visitor)) != position:
                self._told[id(visitor)] = position
                visitor.place(position)
