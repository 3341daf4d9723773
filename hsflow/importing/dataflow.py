# SPDX-License-Identifier: Apache-2.0
"""Assemble what a model file describes: a list of operators that read and write named tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ModelError
from hsflow.importing.assembly import Assembly, Unsupported, Value, not_finite
from hsflow.importing.fold import FloatArray
from hsflow.ir.network import INPUT_NAME, Activation
from hsflow.ir.tensor import Padding

MAX_OPERATORS = 10_000
MAX_WEIGHTS = 1 << 28
"""The most numbers that a model's operators may read as weights, all together; a file may name one array many times."""

MAX_PIXELS = 1 << 24
_NAME_SHOWN = 120


@dataclass(frozen=True)
class Operator:
    """Hold one operator of a file: its kind in the format's own words, its tensors, its attributes.

    An optional input that is left out is "".
    """

    kind: str
    origin: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Dataflow(Assembly):
    """Assemble operators in their order; `constants` holds the tensors that are no feature maps."""

    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    values: dict[str, Value | None] = field(default_factory=dict)
    operators: Sequence[Operator] = ()
    passing: frozenset[str] = frozenset()
    """The kinds of operators that change nothing behind the classifier."""
    output: str = ""
    position: int = 0
    _weights: int = 0

    def value(self, name: str) -> Value:
        """Return what a tensor stands for; raises Unsupported where it is no feature map."""
        value = self.values.get(name)
        if value is None:
            what = "a constant" if name in self.constants else f"{name[:_NAME_SHOWN]!r}, which nothing makes"
            raise Unsupported(f"it reads {what} where it needs a feature map")
        return value

    def constant(self, name: str) -> NDArray[Any]:
        """Return a constant tensor; raises Unsupported where it is none."""
        if name not in self.constants:
            raise Unsupported(f"its input {name[:_NAME_SHOWN]!r} must be a constant")
        return self.constants[name]

    def weights(self, name: str) -> FloatArray:
        """Return a constant tensor as finite float64, within what all weights together may be."""
        return finite(self.charged(self.constant(name)), name)

    def charged(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return `array`, which becomes weights; raises Unsupported where they are too many together."""
        self._weights += array.size
        if self._weights > MAX_WEIGHTS:
            raise Unsupported(f"the weights are more than {MAX_WEIGHTS:,} numbers")
        return array

    def is_exclusive(self, value: Value) -> bool:
        """Tell whether the present operator is the last one to read the feature map, and no layer does so far."""
        if self.is_read(value):
            return False
        aliases = {
            name for name, known in self.values.items() if known is not None and known.layer == value.layer
        }
        later = self.operators[self.position + 1 :]
        return self.output not in aliases and not any(aliases & set(operator.inputs) for operator in later)

    def is_output(self, operator: Operator) -> bool:
        """Tell whether nothing but operators that change nothing stands between `operator` and the output."""
        (name,) = operator.outputs
        while name != self.output:
            readers = [reader for reader in self.operators if name in reader.inputs]
            if len(readers) != 1 or not self.passes(readers[0]) or len(readers[0].outputs) != 1:
                return False
            name = readers[0].outputs[0]
        return True

    def passes(self, operator: Operator) -> bool:
        """Tell whether an operator changes nothing that matters behind the classifier."""
        return operator.kind in self.passing

    def activate(self, origin: str, value: Value, activation: Activation) -> Value:
        """Apply `activation`."""
        return self.add_activation(origin, value, activation, exclusive=self.is_exclusive(value))

    def run(self, handlers: Mapping[str, Callable[..., Value | None]], image: str) -> None:
        """Hand every operator to the handler of its kind; what is not supported is noted as a problem.

        A handler takes the assembly and the operator. It returns what the one output stands for, or None where it entered
        a constant.
        """
        self.values[image] = Value(INPUT_NAME)
        for position, operator in enumerate(self.operators):
            self.position = position
            try:
                self._run_one(operator, handlers)
            except Unsupported as reason:
                self.problems.append(f"{shown(operator.origin)} ({operator.kind}): {reason}")
                self.values.update(dict.fromkeys(operator.outputs))
        self._finish()

    def _run_one(self, operator: Operator, handlers: Mapping[str, Callable[..., Value | None]]) -> None:
        if any(name in self.values and self.values[name] is None for name in operator.inputs):
            self.values.update(dict.fromkeys(operator.outputs))  # what it reads was refused already
            return
        if operator.kind not in handlers:
            raise Unsupported("not a supported operator")
        if len(operator.outputs) != 1 or operator.outputs[0] in self.values | self.constants:
            raise Unsupported("it must have one output, which nothing else makes")
        result = handlers[operator.kind](self, operator)
        if result is not None:
            self.values[operator.outputs[0]] = result

    def _finish(self) -> None:
        if self.problems:
            return
        try:
            self.keep_needed(self.value(self.output))
        except Unsupported as reason:
            self.problems.append(f"the output {shown(self.output)}: {reason}")


def finite(weights: NDArray[Any], name: str) -> FloatArray:
    """Return the weights that a file's tensor holds as float64.

    Raises:
        ModelError: if one is NaN or infinite.
    """
    if not np.isfinite(weights).all():
        raise not_finite(
            f"tensor {shown(name)}", f"{np.count_nonzero(~np.isfinite(weights)):,} of {weights.size:,}"
        )
    return weights.astype(np.float64)


def shown(name: str) -> str:
    """Return a name from a file as a message may show it."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in name[:_NAME_SHOWN])
    return printable if len(name) <= _NAME_SHOWN else f"{printable}... ({len(name)} characters)"


def check_count(operators: int, where: str) -> None:
    """Refuse a file with more operators than any network has.

    Raises:
        ModelError: if there are more than `MAX_OPERATORS`.
    """
    if operators > MAX_OPERATORS:
        raise ModelError(
            "the model has too many operators",
            where=where,
            got=f"{operators:,}",
            expected=f"{MAX_OPERATORS:,}",
        )


def same_padding(
    size: tuple[int, int],
    extent: tuple[int, int],
    stride: tuple[int, int],
    *,
    more_below: bool = True,
) -> Padding:
    """Return the padding by which an output has `ceil(size / stride)` pixels; an odd one goes below and to the right.

    `more_below` false puts it above and to the left.
    """
    total = [
        max((-(-length // step) - 1) * step + span - length, 0)
        for length, span, step in zip(size, extent, stride, strict=True)
    ]
    less, more = [each // 2 for each in total], [each - each // 2 for each in total]
    before, after = (less, more) if more_below else (more, less)
    return Padding(before[0], after[0], before[1], after[1])
