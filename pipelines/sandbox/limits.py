"""Rate limits as vendors publish them: at most so many calls in any so many seconds."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """At most `calls` calls in any `seconds` seconds, over all calls whose path `covers` says yes to."""

    name: str
    calls: int
    seconds: int
    covers: Callable[[str], bool]


class Limiter:
    """Counts one vendor's calls against its rules, by a rolling window. A refused call does not count."""

    def __init__(self, rules: Iterable[Rule], seconds: Callable[[], float]):
        self._seconds = seconds
        self._windows = [(rule, deque[float]()) for rule in rules]

    def take(self, path: str) -> tuple[str | None, dict[str, int]]:
        """(name of the rule that refuses the call or None, calls left by rule). Counts the call unless refused."""
        now = self._seconds()
        covering = [(rule, calls) for rule, calls in self._windows if rule.covers(path)]
        for rule, calls in covering:
            while calls and calls[0] <= now - rule.seconds:
                calls.popleft()
        refusing = next((rule.name for rule, calls in covering if len(calls) >= rule.calls), None)
        if refusing is None:
            for _, calls in covering:
                calls.append(now)
        return refusing, {rule.name: rule.calls - len(calls) for rule, calls in covering}
