# SPDX-License-Identifier: Apache-2.0
"""Draws a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

_COLOURS = {"swift upload": "#9aa5b1", "magnetodb-backup": "#1f6f8b"}


def plot(record: dict[str, Any], path: Path) -> None:
    """Write bars of the median times of each set, first and unchanged, as SVG."""
    matplotlib.rcParams["svg.hashsalt"] = "magnetodb-backup"  # the same bytes each time
    cases = [
        (f"{data['title']}\n{kind}", upload)
        for data in record["sets"]
        for kind, upload in data["uploads"].items()
    ]
    figure, axes = pyplot.subplots(figsize=(8, 4.2), layout="constrained")
    for offset, (name, colour) in enumerate(_COLOURS.items()):
        seconds = [upload["median"][name]["seconds"] for _, upload in cases]
        places = [n + (offset - 0.5) * 0.38 for n in range(len(cases))]
        bars = axes.bar(places, seconds, 0.36, label=name, color=colour)
        axes.bar_label(bars, [f"{s:.1f} s" for s in seconds], fontsize=8)
    axes.set_xticks(range(len(cases)), [label for label, _ in cases], fontsize=8)
    axes.set_yscale("log")
    axes.set_ylabel("seconds, logarithmic")
    axes.set_title("One node's upload, median of side-by-side runs")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
