# SPDX-License-Identifier: Apache-2.0
"""The adder-graph optimizer: constant matrix-vector products with few and narrow adders.

`optimize` takes a NumPy array and needs nothing else of hsflow:

    import numpy as np
    from hsflow_cmvm import optimize

    graph = optimize(np.array([[1, 2], [2, -4]]))    # shape (inputs, outputs)
    print(len(graph.adders), graph.full_adder_bits, graph.depth)

How it works, a module each: `digits` writes coefficients as signed digits, `reduction` removes equal rows and columns,
`differences` derives rows from similar ones, `sharing` extracts common two-term patterns, `refinement` takes parts of the
result back and extracts them anew, and `summation` adds what is left of each row by a tree of narrow adders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hsflow_cmvm.optimizer import optimize

__all__ = ["optimize"]


def __getattr__(name: str) -> Any:
    """Import the optimizer when it is asked for: numba takes a second, which a plugin must not cost everybody."""
    if name != "optimize":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hsflow_cmvm.optimizer import optimize

    return optimize
