"""Lines of figures: what was measured, its reference, the goal, and whether it is met."""

from __future__ import annotations


class Report:
    """Prints as it goes; `close()` is the exit status."""

    def __init__(self) -> None:
        self._missed = 0

    def line(self, what: str, value: float, unit: str, goal: float, reference: str) -> None:
        """`goal` is the most that `value` may be."""
        self._print("OVER ", what, value, unit, f"goal {goal:g} {unit}", reference, met=value <= goal)

    def at_least(self, what: str, value: float, unit: str, goal: float, reference: str) -> None:
        """`goal` is the least that `value` may be."""
        self._print("UNDER", what, value, unit, f"goal at least {goal:g} {unit}", reference, met=value >= goal)

    def note(self, text: str) -> None:
        """A line without a goal: what the figures are made of."""
        print(f"      {text}", flush=True)

    def close(self) -> int:
        print(f"{self._missed} missed their goal" if self._missed else "all within their goals")
        return 1 if self._missed else 0

    def _print(self, missed: str, what: str, value: float, unit: str, goal: str, reference: str, *, met: bool) -> None:
        self._missed += not met
        print(f"{'ok   ' if met else missed} {what:52} {value:9.2f} {unit:3} {goal}; {reference}", flush=True)
