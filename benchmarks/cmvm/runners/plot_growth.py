# SPDX-License-Identifier: Apache-2.0
"""Draw CPU seconds and adders against nonzeros: `plot_growth.py POINTS.json IMAGE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot


def main(data: Path, target: Path) -> None:
    """Draw the series of a file."""
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5))
    for series in json.loads(data.read_text(encoding="utf-8")):
        for axis, key in zip(axes, ("seconds", "adders"), strict=True):
            axis.loglog(series["nonzeros"], series[key], "o", markersize=4, label=series["tool"])
    for axis, label in zip(axes, ("CPU seconds", "adders"), strict=True):
        axis.set_xlabel("nonzeros")
        axis.set_ylabel(label)
        axis.grid(visible=True, which="both", alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
