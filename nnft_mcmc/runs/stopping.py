"""When a run stops, and how many draws it makes at a time.

A run is asked to stop by SIGTERM or SIGUSR1, as batch systems do before they kill, or by a limit on its wall time. It
then finishes the chunk in hand and writes its checkpoint, so chunks must be short in seconds, whatever a draw costs.
"""

import math
import signal
import threading
import time
from types import FrameType
from typing import Any

# A chunk takes about this long; then comes a checkpoint.
CHUNK_SECONDS = 10.0
# A chunk is at most this much longer than the last, for costs measured on few draws are uncertain.
GROWTH = 10
# Chunks are expected to take this much longer than the last one did, where a time limit is near.
CAUTION = 1.5

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
TIME_LIMIT = "the time limit"


class StopRequest:
    """Within its context, what has asked the process to stop: the name of a signal, the time limit, or nothing (None).

    `deadline` is in seconds of `time.monotonic()`.
    """

    def __init__(self, deadline: float = math.inf) -> None:
        self.deadline = deadline
        self.cause: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # the only one that may handle signals
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.cause = signal.Signals(number).name


class Pace:
    """The length of the next chunk, from what the last one cost."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._last: tuple[int, float] | None = None  # transitions, seconds

    def record(self, transitions: int, seconds: float) -> None:
        """What a chunk cost, its writing included."""
        self._last = transitions, max(seconds, 1e-6)

    def transitions(self) -> int:
        """How many transitions the next chunk may make: at least one, or 0 where no time is left."""
        left = self._deadline - time.monotonic()
        if self._last is None:
            return 1 if left > 0 else 0
        number, seconds = self._last
        affordable = left / (CAUTION * seconds / number)
        if affordable < 1:
            return 0
        return max(1, int(min(GROWTH * number, CHUNK_SECONDS * number / seconds, affordable)))
