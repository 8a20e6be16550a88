"""Signals that come while a server is still starting.

What lives here: leaving in order on SIGTERM and SIGINT. What must not: signals of a server that runs (workers.py).
"""

import signal
import sys


class EarlySignals:
    """SIGTERM and SIGINT until the workers' parent takes them over: what was started is ended in order.

    An exception out of a signal's handler is lost, and told to the person, where Python ignores exceptions, as in what
    it does around a fork. So the signal is noted too, and obeyed a little later.
    """

    def __init__(self) -> None:
        self._way: BaseException | None = None
        signal.signal(signal.SIGTERM, lambda *_: self._leave(SystemExit(0)))
        signal.signal(signal.SIGINT, lambda *_: self._leave(KeyboardInterrupt()))
        sys.unraisablehook = self._tell

    def obey(self) -> None:
        """Leave if a signal has come."""
        if self._way is not None:
            raise self._way

    def _leave(self, way: BaseException) -> None:
        self._way = way
        raise way

    def _tell(self, ignored: "sys.UnraisableHookArgs") -> None:
        if ignored.exc_value is None or ignored.exc_value is not self._way:
            sys.__unraisablehook__(ignored)
