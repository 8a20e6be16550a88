"""What the log leaves of a delivery day's book, held against the tables that say the same: the day, the bids that were
changed, what accounts have.

What lives here: that comparison. What must not: the log's own rules (audit_replay.py), results (audit.py).
"""

from market.audit_replay import Replay
from market.audit_rows import ChangedBid, CountedAccount, name_bid


class BookAudit:
    """Compares rows with a replay that is at its end; every disagreement becomes one of the replay's findings. Rows
    come in any order; `end` tells what was missing."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._findings = replay.findings
        self._is_seen = bytearray(len(replay.bids))
        self._counted: set[int] = set()

    def day(self, state: str | None, last_seq: int | None) -> None:
        """The row of delivery_days; None where it has none."""
        replay = self._replay
        if state is None or last_seq is None:
            self._findings.add("delivery_days lacks the day, which has a log or results")
            return
        if state != replay.state:
            self._findings.add(f"delivery_days has the day {state}, and by the log it is {replay.state}")
        if last_seq != replay.seq:
            self._findings.add(f"delivery_days has event {last_seq} as the last, and the log ends with {replay.seq}")

    def changed_bid(self, row: ChangedBid) -> None:
        """A row of changed_bids: the present state of a bid that was changed or withdrawn."""
        bids = self._replay.bids
        name = name_bid(self._replay.delivery_day, row.bid_seq)
        place = bids.find(row.bid_seq)
        if place is None:
            self._findings.add(f"changed_bids has {name}, which the log does not have")
            return
        self._is_seen[place] = True
        if bids.priorities[place] == row.bid_seq:
            self._findings.add(f"changed_bids has {name}, which was never changed")
            return
        logged = ChangedBid(
            row.bid_seq, bids.priorities[place], bids.prices[place], bids.volumes[place], bool(bids.is_withdrawn[place])
        )
        for field, kept, expected in zip(ChangedBid._fields, row, logged, strict=True):
            if kept != expected:
                self._findings.add(f"changed_bids has {name} with {field} {kept} instead of {expected}")

    def account_day(self, row: CountedAccount) -> None:
        """A row of account_days."""
        account = self._replay.accounts.get(row.account_id)
        if account is None:
            self._findings.add(f"account_days has account {row.account_id}, which has no event that day")
            return
        self._counted.add(row.account_id)
        logged = CountedAccount(row.account_id, account.open_bids, account.first_account_seq, account.last_account_seq)
        for field, kept, expected in zip(CountedAccount._fields, row, logged, strict=True):
            if kept != expected:
                self._findings.add(
                    f"account_days has account {row.account_id} with {field} {kept} instead of {expected}"
                )

    def end(self) -> None:
        """No more rows come."""
        bids = self._replay.bids
        for place, is_seen in enumerate(self._is_seen):
            if not is_seen and bids.priorities[place] != bids.seqs[place]:
                name = name_bid(self._replay.delivery_day, bids.seqs[place])
                self._findings.add(f"changed_bids lacks {name}, which event {bids.priorities[place]} changed")
        for account_id in self._replay.accounts.keys() - self._counted:
            self._findings.add(f"account_days lacks account {account_id}")
