# SPDX-License-Identifier: Apache-2.0
"""The suites: which matrices the bench runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.cmvm.matrices import Spec, parse

ZEROS = ("z0", "z50", "z80")
SCATTERED = ("r50", "r80")
_KERNEL_TAPS = 9


def small() -> list[Spec]:
    """Return what continuous integration runs in less than a minute, hsflow only."""
    return [
        *_all_families(["16x96"]),
        *_family(["24x144", "32x192"], ["g8"], ZEROS),
        *_family(["dw96"], ["g8"], ("z0", "z50")),
        *_kernels([(16, 32)], ("z50",)),
    ]


def default() -> list[Spec]:
    """Return the families where the better peer finishes within ten minutes."""
    return [
        *_all_families(["16x96", "24x144", "32x192", "64x384"]),
        *_family(["96x576", "576x96"], ["g8"], ZEROS),
        *_family(["160x960", "960x160"], ["g8"], ("z80",)),
        *_family(["dw96", "dw192"], ["g8"], ("z0", "z50")),
        *_kernels([(16, 32), (32, 64)], ZEROS),
    ]


def large() -> list[Spec]:
    """Return what the peers do not finish, hsflow only."""
    return [
        *_family(["160x960", "960x160"], ["g8"], ("z0", "z50")),
        *_family(["320x1280"], ["g8", "g15"], ZEROS),
    ]


SUITES = {"small": small, "default": default, "large": large}


def _all_families(shapes: Iterable[str]) -> Iterator[Spec]:
    """Yield all families; g4 and g15 not pruned by magnitude, as that makes them g8."""
    for shape in shapes:
        yield from _family([shape], ["g8"], (*ZEROS, *SCATTERED))
        yield from _family([shape], ["g4", "g15"], ("z0", *SCATTERED))
        yield from _family([shape], ["u8", "t"], ZEROS)


def _family(shapes: Iterable[str], families: Sequence[str], zeros: Sequence[str]) -> Iterator[Spec]:
    for shape in shapes:
        yield from (parse(f"{shape}-{family}-{share}") for family in families for share in zeros)


def _kernels(channels: Iterable[tuple[int, int]], zeros: Sequence[str]) -> Iterator[Spec]:
    """Yield the matrices of dense 3x3 kernels from so many channels to so many."""
    shapes = (f"{_KERNEL_TAPS * inputs}x{outputs}" for inputs, outputs in channels)
    return _family(shapes, ["g8"], zeros)
