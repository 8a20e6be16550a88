"""The order in which a book's levels changed, so that what changed since some event is found without the rest.

What lives here: that order. What must not: what a change does to a level (book.py).
"""

from bisect import bisect_right

from market.depth import Tally

# Compaction looks at every place: the longer the trail may grow, the less of it falls to each change.
_PLACES_PER_LEVEL = 4
_SLACK = 1024
_STRIDE = 64


class Trail:
    """Levels in the order of their changes. A level that changes again stands here again; from time to time only its
    last place is kept, so that the trail is never longer than a few times the levels and some slack.

    Marks lead into it: everything before `_starts[i]` happened up to event `_seqs[i]`.
    """

    def __init__(self) -> None:
        # Appended to by the book itself, for every bid; the list remains the same one.
        self.tallies: list[Tally] = []
        self._seqs: list[int] = []
        self._starts: list[int] = []
        self._limit = _SLACK

    def mark(self, seq: int) -> None:
        """What is appended from now on happened at event `seq` or later."""
        if len(self.tallies) > self._limit:
            self._compact()
        self._seqs.append(seq)
        self._starts.append(len(self.tallies))

    def refill(self, tallies: list[Tally]) -> None:
        """Begin with levels each of which stands here once, in the order of their last change."""
        self.tallies[:] = tallies
        self._seqs = [tally.seq for tally in tallies[::_STRIDE]]
        self._starts = list(range(0, len(tallies), _STRIDE))
        self._limit = _PLACES_PER_LEVEL * len(tallies) + _SLACK

    def since(self, seq: int) -> set[Tally]:
        """The levels whose last change came after event `seq`."""
        marked = bisect_right(self._seqs, seq)
        start = self._starts[marked - 1] if marked else 0
        return {tally for tally in self.tallies[start:] if tally.seq > seq}

    def _compact(self) -> None:
        last_first = dict.fromkeys(reversed(self.tallies))
        self.refill(list(reversed(last_first)))
