"""Alignment: predictions of several models become moments, each with one prediction per contributor."""

from __future__ import annotations

import bisect
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec

from edge_sdk.base.errors import ConfigError, nearest
from edge_sdk.contract.prediction import ContributorState, Prediction

Policy = Literal["on_all", "on_any", "tick", "basepad"]

_MAX_WAITING = 4096


class Moment(msgspec.Struct, frozen=True, eq=False):
    """What all contributors say at one event time.

    Attributes:
        t_ns: Event time, nanoseconds since the Unix epoch.
        predictions: One per contributor, in the configured order, each in its state.
    """

    t_ns: int
    predictions: tuple[Prediction, ...]


class Aligner:
    """Joins predictions by event time. Pure: no clock is read; time comes in by `push` and `advance`.

    - ``on_all``: one moment per distinct window end, as soon as every contributor has delivered for it or is past
      it, or `lateness_ns` after it. Who is missing then is STALE if it said something within its max age (its old
      values are carried, and do not count), else ABSENT. For models with the same windowing.
    - ``on_any``: one moment per prediction, with the latest word of the others: FRESH within its max age,
      STALE beyond it, ABSENT if there was none yet. For models of different rates; a base and its paddings.
    - ``tick``: one moment per multiple of `tick_ns`, states as in ``on_any``, as soon as every contributor has
      delivered for it or is past it, or `lateness_ns` after it.
    - ``basepad``: one moment per prediction of `base`, with that word of each other that is nearest to it in time,
      earlier or later: FRESH within `tolerance_ns`; else its last word before, as in ``on_all``: STALE within its max
      age, or ABSENT. Given as soon as every contributor is past it, or `lateness_ns` after it. For sensors of one
      rate and several phases. Without the base there are no moments.

    Moments come in order of time. A prediction for a moment that has been given is counted as late and makes no
    moment of its own; as its contributor's last word it still serves the moments behind. When contributors go back
    behind their own last word, and nothing else comes for long, time was set back: the aligner begins anew.

    Args:
        contributors: Names of the models, in order.
        policy: As above.
        max_age_ns: How old a contributor's last word may be; for all, or by name (0 where not named).
        lateness_ns: How long after a moment's end an absent contributor is waited for.
        tick_ns: The tick, for ``tick`` alone.
        base: The contributor whose predictions make the moments, for ``basepad`` alone.
        tolerance_ns: How far from the base's another's word may lie and still be FRESH, for ``basepad`` alone.

    Attributes:
        counters: ``predictions.late``, ``predictions.duplicate``, ``moments.forced``, ``ticks.skipped``,
            ``clock.steps``.

    Raises:
        ConfigError: The arguments contradict each other.
    """

    def __init__(
        self,
        contributors: Sequence[str],
        *,
        policy: Policy,
        max_age_ns: Mapping[str, int] | int,
        lateness_ns: int,
        tick_ns: int | None,
        base: str | None = None,
        tolerance_ns: int = 0,
    ) -> None:
        if not contributors or len(set(contributors)) != len(contributors):
            raise ConfigError(f"Contributors are {list(contributors)}; wanted is at least one, each name once.")
        if policy not in get_args(Policy):
            raise ConfigError(f"policy is {policy!r}. {nearest(policy, get_args(Policy))}")
        if (policy == "tick") != (tick_ns is not None and tick_ns > 0):
            raise ConfigError(f"policy is {policy!r} and tick_ns is {tick_ns}; 'tick' wants a tick, the others none.")
        self.contributors = tuple(contributors)
        if (policy == "basepad") != (base is not None) or tolerance_ns < 0:
            raise ConfigError(
                f"policy is {policy!r}, base is {base!r} and tolerance_ns is {tolerance_ns}; "
                "'basepad' wants a base and a tolerance of 0 or more, the others no base."
            )
        if base is not None:
            self._check(base)
        self._base, self._tolerance_ns = base, tolerance_ns
        ages = max_age_ns if isinstance(max_age_ns, Mapping) else dict.fromkeys(contributors, max_age_ns)
        for name in ages:
            self._check(name)
        self._max_age_ns = {name: ages.get(name, 0) for name in contributors}
        self._policy = policy
        self._lateness_ns = lateness_ns
        self._tick_ns = tick_ns or 0
        self._counted: Counter[str] = Counter()
        self._late_in_a_row = 0
        self._heard_ns: dict[str, int] = {}
        self._behind: set[str] = set()
        self._waiting: dict[int, dict[str, Prediction]] = {}
        self._reached_ns: dict[str, int] = {}
        self._last: dict[str, Prediction] = {}
        self._given_ns: int | None = None

    @property
    def counters(self) -> dict[str, int]:
        """What was dropped, and why; by dotted name."""
        return {name: count for name, count in sorted(self._counted.items()) if count}

    def push(self, prediction: Prediction) -> list[Moment]:
        """Take a prediction, whatever its state; give the moments that it completes.

        Raises:
            ConfigError: It is of no contributor.
        """
        self._check(prediction.model)
        moments: list[Moment] = []
        if self._given_ns is not None and prediction.end_ns <= self._given_ns:
            again = self._policy == "on_any" and prediction.end_ns == self._given_ns
            if not again:
                self._counted["predictions.late"] += 1
                if self._went_back(prediction):
                    self._late_in_a_row += 1
                else:
                    self._remember({prediction.model: prediction})
                if self._late_in_a_row < max(3, 2 * len(self.contributors)):
                    return []
                self._counted["clock.steps"] += 1
                moments = self.flush()
        self._late_in_a_row = 0
        self._behind.clear()
        self._heard_ns[prediction.model] = prediction.end_ns
        if self._policy == "on_any":
            return [*moments, self._on_any(prediction)]
        name, end_ns = prediction.model, prediction.end_ns
        waiting = self._waiting.setdefault(end_ns, {})
        if name in waiting:
            self._counted["predictions.duplicate"] += 1
            return moments
        waiting[name] = prediction
        self._reached_ns[name] = max(self._reached_ns.get(name, end_ns), end_ns)
        if self._policy == "tick" and self._given_ns is None:
            self._given_ns = (end_ns - 1) // self._tick_ns * self._tick_ns
        settled_ns = min(self._reached_ns.values()) if len(self._reached_ns) == len(self.contributors) else None
        if len(self._waiting) > _MAX_WAITING:
            self._counted["moments.forced"] += 1
            settled_ns = max(min(self._waiting), settled_ns if settled_ns is not None else 0)
        return moments if settled_ns is None else moments + self._give(settled_ns)

    def advance(self, now_event_ns: int) -> list[Moment]:
        """Event time has reached `now_event_ns`, by the other sensors or the clock; give what need not wait longer."""
        return [] if self._policy == "on_any" else self._give(now_event_ns - self._lateness_ns)

    def flush(self) -> list[Moment]:
        """The streams have ended: give every moment that something was delivered for, and begin anew."""
        last_ns = max(self._waiting, default=None)
        if last_ns is not None and self._policy == "tick":
            last_ns = -(-last_ns // self._tick_ns) * self._tick_ns
        moments = [] if last_ns is None else self._give(last_ns)
        self._forget()
        return moments

    def _went_back(self, late: Prediction) -> bool:
        """Whether a late one stands before its own contributor's last word: one that only catches up does not."""
        name = late.model
        if late.end_ns <= self._heard_ns.get(name, late.end_ns - 1):
            self._behind.add(name)
        self._heard_ns[name] = late.end_ns
        return name in self._behind

    def _check(self, name: str) -> None:
        if name not in self.contributors:
            raise ConfigError(f"Model {name!r} is no contributor. {nearest(name, self.contributors)}")

    def _forget(self) -> None:
        self._waiting.clear()
        self._reached_ns.clear()
        self._last.clear()
        self._given_ns = None

    def _give(self, until_ns: int) -> list[Moment]:
        """All moments up to an event time."""
        if self._policy == "on_all":
            return self._joined(until_ns)
        if self._policy == "basepad":
            return self._based(until_ns)
        return self._ticks(until_ns)

    def _joined(self, until_ns: int) -> list[Moment]:
        moments: list[Moment] = []
        due = [end_ns for end_ns in self._waiting if end_ns <= until_ns]
        due.sort()
        for t_ns in due:
            here = self._waiting.pop(t_ns)
            moments.append(
                Moment(t_ns, tuple([here.get(name) or self._missing(name, t_ns) for name in self.contributors]))
            )
            self._remember(here)
            self._given_ns = t_ns
        return moments

    def _based(self, until_ns: int) -> list[Moment]:
        moments: list[Moment] = []
        ends = sorted(self._waiting)
        for place, t_ns in enumerate(ends):
            if t_ns > until_ns:
                break
            here = self._waiting.pop(t_ns)
            if self._base in here:
                later = ends[place + 1 : bisect.bisect_right(ends, t_ns + self._tolerance_ns)]
                moments.append(
                    Moment(t_ns, tuple(self._nearest(name, t_ns, here, later) for name in self.contributors))
                )
                self._given_ns = t_ns
            self._remember(here)
        return moments

    def _nearest(self, name: str, t_ns: int, here: Mapping[str, Prediction], later: Sequence[int]) -> Prediction:
        """The word nearest to the base's, the earlier one of two; of `later` ends only the first can be it."""
        if name in here:
            return here[name]
        last = self._last.get(name)
        gap_ns = self._tolerance_ns + 1 if last is None else abs(t_ns - last.end_ns)
        for end_ns in later:
            if name in self._waiting[end_ns]:
                if end_ns - t_ns < gap_ns:
                    return self._waiting[end_ns][name]
                break
        if last is not None and gap_ns <= self._tolerance_ns:
            return last
        return self._missing(name, t_ns)

    def _ticks(self, until_ns: int) -> list[Moment]:
        moments: list[Moment] = []
        if self._given_ns is None:
            return moments
        ends = deque(sorted(self._waiting))
        n_ticks = (until_ns - self._given_ns) // self._tick_ns
        if n_ticks > _MAX_WAITING:
            self._counted["ticks.skipped"] += n_ticks - _MAX_WAITING
            until_ns -= (n_ticks - _MAX_WAITING) * self._tick_ns
        while self._given_ns + self._tick_ns <= until_ns:
            t_ns = self._given_ns + self._tick_ns
            while ends and ends[0] <= t_ns:
                self._remember(self._waiting.pop(ends.popleft()))
            moments.append(self._latest(t_ns))
            self._given_ns = t_ns
        return moments

    def _on_any(self, prediction: Prediction) -> Moment:
        self._remember({prediction.model: prediction})
        self._given_ns = prediction.end_ns
        return self._latest(prediction.end_ns)

    def _remember(self, predictions: Mapping[str, Prediction]) -> None:
        """Keep the last word of each; in ``on_all`` only a FRESH one can be carried on."""
        for name, prediction in predictions.items():
            last = self._last.get(name)
            if last is not None and prediction.end_ns < last.end_ns:
                continue
            if self._policy != "on_all" or prediction.state is ContributorState.FRESH:
                self._last[name] = prediction

    def _missing(self, name: str, t_ns: int) -> Prediction:
        """What stands for a contributor that has nothing for this moment."""
        last = self._last.get(name)
        if last is None or last.end_ns > t_ns or t_ns - last.end_ns > self._max_age_ns[name]:
            return _absent(name, t_ns)
        return _stale(last) if last.state is ContributorState.FRESH else last

    def _latest(self, t_ns: int) -> Moment:
        """The last word of each, by age."""
        chosen: list[Prediction] = []
        for name in self.contributors:
            last = self._last.get(name)
            if last is None:
                chosen.append(_absent(name, t_ns))
            elif last.state is ContributorState.FRESH and t_ns - last.end_ns > self._max_age_ns[name]:
                chosen.append(_stale(last))
            else:
                chosen.append(last)
        return Moment(t_ns, tuple(chosen))


def _absent(name: str, t_ns: int) -> Prediction:
    return Prediction(name, t_ns, t_ns, state=ContributorState.ABSENT, reason="nothing_came")


def _stale(last: Prediction) -> Prediction:
    return Prediction(
        last.model,
        last.start_ns,
        last.end_ns,
        state=ContributorState.STALE,
        probabilities=last.probabilities,
        value=last.value,
        std=last.std,
        features=last.features,
        reason="old",
        observed_ns=last.observed_ns,
        clock=last.clock,
    )
