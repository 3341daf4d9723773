# SPDX-License-Identifier: Apache-2.0
"""Where ticks and points lie on an axis, as parts of its length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_TICKS = 6
_MOST_LOGARITHMIC_TICKS = 10
"""Those of three decades."""

_STEPS = (1, 2, 5, 10)
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Scale:
    """Map the values from `low` to `high` onto 0 to 1."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def of(cls, values: Sequence[float], logarithmic: bool = False) -> Scale:
        """Return a scale with room for all values: from 0, or between 1, 2 or 5 times powers of ten if logarithmic."""
        if not logarithmic:
            top = max(values, default=1.0)
            low = min(0.0, *values) if values else 0.0
            step = _step(top - low)
            return cls(math.floor(low / step) * step, math.ceil(top / step) * step or 1.0)
        steps = _logarithmic_steps(min(values, default=1.0), max(values, default=10.0))
        return cls(steps[0], steps[-1], True)

    def part(self, value: float) -> float:
        """Return where `value` lies, 0 at the low end and 1 at the high end."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Return round values from the low to the high end: at most seven, or ten if logarithmic."""
        if self.logarithmic:
            steps = _logarithmic_steps(self.low, self.high)
            if len(steps) > _MOST_LOGARITHMIC_TICKS:
                steps = [step for step in steps if math.log10(step).is_integer()]
            return tuple(steps[:: -(-len(steps) // _MOST_LOGARITHMIC_TICKS)])
        step = _step(self.high - self.low)
        return tuple(self.low + number * step for number in range(round((self.high - self.low) / step) + 1))


def _logarithmic_steps(low: float, high: float) -> list[float]:
    """Return the numbers 1, 2 and 5 times powers of ten from the last one up to `low` to the first one from `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 2)
    steps = [float(f"{factor}e{power}") for power in powers for factor in _STEPS[:-1]]
    first = max(index for index, step in enumerate(steps) if step <= low * (1 + 1e-9))
    last = min(index for index, step in enumerate(steps) if step >= high * (1 - 1e-9))
    return steps[first : max(last, first + 1) + 1]


def _step(span: float) -> float:
    """Return the smallest round step of which at most six make up `span`."""
    if span <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(span / _MOST_TICKS))
    return next(power * step for step in _STEPS if span / (power * step) <= _MOST_TICKS * (1 + 1e-9))


def short(value: float) -> str:
    """Return a number with a prefix of the SI and as few digits as it needs: 50 k, 1.2 M, 0.02."""
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}"
    return f"{value:.3g}"
