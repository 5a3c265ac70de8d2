"""Lines of figures: what was measured, its reference, the goal, and whether it is met."""

from __future__ import annotations


class Report:
    """Prints as it goes; `close()` is the exit status."""

    def __init__(self) -> None:
        self._missed = 0

    def line(self, what: str, value: float, unit: str, goal: float, reference: str) -> None:
        """`goal` is the most that `value` may be."""
        met = value <= goal
        self._missed += not met
        print(
            f"{'ok  ' if met else 'OVER'} {what:52} {value:9.2f} {unit:3} goal {goal:g} {unit}; {reference}", flush=True
        )

    def close(self) -> int:
        print(f"{self._missed} over their goal" if self._missed else "all within their goals")
        return 1 if self._missed else 0
