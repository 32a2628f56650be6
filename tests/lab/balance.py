# SPDX-License-Identifier: Apache-2.0
"""Lets the processes of pytest end together: the files that take longest start first.

Those that break servers come after those that want them whole, the many small ones at the end.

A pytest plugin. ``python -m tests.lab.balance FIGURES`` writes ``costs.json`` from what a run with
``--measured FIGURES`` has measured.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

_COSTS = Path(__file__).with_name("costs.json")
_LEAST = 5  # seconds; the order of cheaper files does not matter


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests by what their files cost, if several processes share them."""
    if hasattr(config, "workerinput"):
        costs: dict[str, float] = json.loads(_COSTS.read_text())
        items.sort(key=lambda item: _place(_file(item.nodeid), costs))


def _place(file: str, costs: dict[str, float]) -> tuple[int, float]:
    group = {"contract": 0, "functional": 0, "faults": 1}.get(file.split("/")[1], 2)
    return group, -costs.get(file, 0.0)


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def main(figures: str) -> None:
    """Write the costs of files, in seconds; files that were not run keep theirs."""
    costs: Counter[str] = Counter()
    for nodeid, cost in json.loads(Path(figures).read_text())["tests"].items():
        costs[_file(nodeid)] += cost["seconds"]
    known = json.loads(_COSTS.read_text()) if _COSTS.exists() else {}
    known.update(costs)
    kept = {file: round(s) for file, s in sorted(known.items()) if s >= _LEAST}
    _COSTS.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
