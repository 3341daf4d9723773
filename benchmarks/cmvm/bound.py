# SPDX-License-Identifier: Apache-2.0
"""The counting bound: how many adders almost every matrix of a family needs at least, whatever the algorithm.

There are not enough programs of few adders for all matrices. A program of N adders chooses two other values, a relative
shift and a sign for each adder, of which N! numberings are one program, and a value, a shift and a sign for each output; the
programs must be as many as the matrices, about 2**entropy (Shannon's argument, "The synthesis of two-terminal switching circuits", BSTJ 28(1), 1949).

    python -m benchmarks.cmvm.bound 16x96-g8-z0 32x192-g8-z50
"""

from __future__ import annotations

import argparse
import math
from collections import Counter

import numpy as np

from benchmarks.cmvm.matrices import Matrix, parse

_SHIFTS = 15
"""The largest shift that an adder may choose; to allow more would only lower the bound."""


def entropy(matrix: Matrix) -> float:
    """Return the bits that the weights of a matrix hold, taken as independent draws from the weights that it has."""
    counts = np.array(list(Counter(np.asarray(matrix).reshape(-1).tolist()).values()), dtype=np.float64)
    shares = counts / counts.sum()
    return float(-(counts * np.log2(shares)).sum())


def program_bits(inputs: int, outputs: int, adders: int) -> float:
    """Return the logarithm of the number of programs of so many adders, an upper bound."""
    values = inputs + adders
    choices = adders * math.log2(values * values / 2 * (2 * _SHIFTS + 1) * 2)
    numberings = math.lgamma(adders + 1) / math.log(2)
    return choices - numberings + outputs * math.log2((inputs + adders) * (_SHIFTS + 1) * 2)


def fewest_adders(matrix: Matrix) -> int:
    """Return the adders that almost every matrix with this one's shape and distribution of weights needs, shape (in, out)."""
    inputs, outputs = matrix.shape
    needed, low, high = entropy(matrix), 0, int(np.count_nonzero(matrix)) + 1
    while low < high:
        middle = (low + high) // 2
        if program_bits(inputs, outputs, middle) < needed:
            low = middle + 1
        else:
            high = middle
    return low


def main() -> None:
    """Print the bound of each matrix that is named."""
    parser = argparse.ArgumentParser(description="The adders that almost every such matrix needs.")
    parser.add_argument("matrices", nargs="+")
    for name in parser.parse_args().matrices:
        print(f"{name:<18} {fewest_adders(parse(name).build()):>8} adders")


if __name__ == "__main__":
    main()
