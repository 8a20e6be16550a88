"""What the command line asks of a run.

What lives here: the options and what follows from them. What must not: how they are written on the command line.
"""

import os
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Options:
    """How often and how long is measured, and whether missing programs are installed."""

    rounds: int = 3
    is_quick: bool = False
    installs: bool = False
    # The cores that this process and its children may use, as it was started.
    core_ids: tuple[int, ...] = field(default_factory=lambda: tuple(sorted(os.sched_getaffinity(0))))

    @property
    def warm_s(self) -> float:
        """Seconds of load before each measurement: compilers, caches and connections get their time."""
        return 1.0 if self.is_quick else 3.0

    @property
    def measure_s(self) -> float:
        """Seconds of each measurement."""
        return 2.0 if self.is_quick else 5.0

    @property
    def cores(self) -> int:
        """How many they are."""
        return len(self.core_ids)
