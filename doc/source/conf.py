# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration; warnings are errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import magnetodb_backup.api
from magnetodb_backup.domain import concurrency
from magnetodb_backup.domain.backup import status
from magnetodb_backup.domain.restore import records as restores

project = "magnetodb-backup"
copyright = "magnetodb-backup contributors"
extensions = [
    "cliff.sphinxext",
    "oslo_config.sphinxext",
    "oslo_policy.sphinxext",
    "reno.sphinxext",
]
html_theme = "alabaster"
version = release = "0.1.0"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (header, *rows):
        lines += [f"   {'*' if n == 0 else ' '} - {cell}" for n, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def _states(table: Mapping[Any, Mapping[str, Any]]) -> str:
    rows = [
        (f"``{old.value}``", event, f"``{new.value}``")
        for old, transitions in table.items()
        for event, new in transitions.items()
    ]
    return _table(("State", "What happens", "Next state"), rows)


def _concurrency() -> str:
    """Return a row for each pair of works, with the outcome for each relation."""
    rows = [
        (
            first.value,
            second.value,
            *(found.of(relation).value for relation in concurrency.Relation),
        )
        for first, others in concurrency.RULES.items()
        for second, found in others.items()
    ]
    relations = [relation.value for relation in concurrency.Relation]
    return _table(("What runs", "What is asked for", *relations), rows)


def _catalogue(runs: list[dict[str, Any]]) -> str:
    """Return the newest run's table."""
    newest = runs[-1]
    rows = [
        (
            f"``{name}``",
            f"{cost['seconds']:.1f}",
            f"{cost['cpu']:.1f}",
            f"{(cost['peak_memory'] - cost['memory_before']) / 1e6:.0f}",
            str(cost["requests"]),
        )
        for name, cost in newest["steps"].items()
    ]
    header = ("What", "Seconds", "CPU seconds", "MB added", "Requests to the store")
    return (
        f"{newest['backups']:,} backups of {newest['nodes']} nodes, {newest['delay'] * 1000:g} ms "
        f"for a request. {_run(newest)}{_table(header, rows)}"
    )


def _collect(runs: list[dict[str, Any]]) -> str:
    """Return the newest run's table."""
    newest = runs[-1]
    rows = [
        (
            step,
            f"{newest['tenth'][step]['cpu']:.1f}",
            f"{cost['cpu']:.1f}",
            _times(newest["ratio"][step]["cpu"]),
            f"{newest['tenth'][step]['memory_added'] / 1e6:.0f}",
            f"{cost['memory_added'] / 1e6:.0f}",
            f"{cost['peak_memory'] / 1e6:.0f}",
            _times(newest["ratio"][step]["peak_memory"]),
            f"{cost['seconds']:.0f}",
        )
        for step, cost in newest["whole"].items()
    ]
    header = (
        "What", "CPU seconds, a tenth", "CPU seconds", "Ratio", "MB added, a tenth", "MB added",
        "Peak MB", "Ratio of the peaks", "Seconds",
    )  # fmt: skip
    return f"{newest['packs']:,} packs. {_run(newest)}{_table(header, rows)}"


def _times(ratio: float) -> str:
    return f"{ratio:.1f}"


def _api() -> str:
    document = json.loads((Path(magnetodb_backup.api.__file__).parent / "openapi.json").read_text())
    rows = [
        (f"``{method.upper()} {path}``", operation["summary"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]
    return _table(("Request", "What it does"), rows)


def _performance(runs: list[dict[str, Any]]) -> str:
    """Return the newest run's table, then what each recorded run found."""
    newest = runs[-1]
    rows = []
    for data in newest["sets"]:
        for kind, upload in data["uploads"].items():
            for name, cost in upload["median"].items():
                faster = upload["times_faster"]
                times = "{median:.1f} ({min:.1f}-{max:.1f})".format(**faster)
                rows.append(
                    (
                        f"{data['title']}, {data['bytes'] / 1e6:.0f} MB, {kind}",
                        f"``{name}``" if name == "swift upload" else name,
                        f"{cost['seconds']:.2f}",
                        times if name != "swift upload" else "1",
                        f"{cost['cpu']:.2f}, {cost['swift_cpu']:.2f}",
                        f"{cost['peak_memory'] / 1e6:.0f}",
                        str(round(cost["requests"])),
                    )
                )
    header = ("Set", "Uploader", "Seconds", "Faster", "CPU seconds", "Peak MB", "Requests")
    table = _table(header, rows)
    history = [
        (
            run["date"],
            run["version"],
            *(
                f"{upload['times_faster']['median']:.1f}"
                for data in run["sets"]
                for upload in data["uploads"].values()
            ),
        )
        for run in runs
    ]
    cases = [f"{d['title']}, {kind}" for d in newest["sets"] for kind in d["uploads"]]
    progress = _table(("Date", "Version", *cases), history)
    return f"{_run(newest)}{table}\nTimes faster, in each recorded run:\n\n{progress}"


def _run(run: Mapping[str, Any]) -> str:
    load = f", which others loaded by {run['load']}" if run.get("load", 0) >= 0.5 else ""
    return (
        f"Version {run['version']}, {run['date']}: medians of {run['rounds']} rounds on "
        f"{run['cores']} cores{load}, Python {run['python']}.\n\n"
    )


def _ratio(ratio: Mapping[str, float]) -> str:
    return "{median:.2f} ({min:.2f}-{max:.2f})".format(**ratio)


def _downloads(runs: list[dict[str, Any]]) -> str:
    """Return the newest run's table, then the ratios of all."""
    rows = [
        (
            f"{data['title']}, {data['bytes'] / 1e6:.0f} MB",
            {"ours": "download of a restore", "bare": "bare transfer"}[name],
            f"{cost['seconds']:.2f}",
            _ratio(data["ratio"]) if name == "ours" else "1",
            f"{cost['cpu']:.2f}, {cost['swift_cpu']:.2f}",
            f"{cost['peak_memory'] / 1e6:.0f}",
            str(round(cost["requests"])),
        )
        for data in runs[-1]["sets"]
        for name, cost in data["median"].items()
    ]
    header = ("Set", "What", "Seconds", "Ratio", "CPU seconds", "Peak MB", "Requests")
    history = [
        (
            run["date"],
            run["version"],
            f"{run.get('load', '')}",
            *(_ratio(data["ratio"]) for data in run["sets"]),
        )
        for run in runs
    ]
    cases = tuple(data["title"] for data in runs[-1]["sets"])
    progress = _table(("Date", "Version", "Load before", *cases), history)
    return f"{_run(runs[-1])}{_table(header, rows)}\nRatios, in each recorded run:\n\n{progress}"


def _readable(runs: list[dict[str, Any]]) -> str:
    """Return the newest run's phases, then the whole times of all."""
    newest = runs[-1]
    phases = {
        name: seconds
        for name, seconds in newest["phases"].items()
        if seconds >= 0.05 or name == "download"
    }
    rows = [(f"``{name}``", f"{seconds:.2f}") for name, seconds in phases.items() if name != "all"]
    rows.append(("all, until a row is read by CQL", f"{newest['phases']['all']:.2f}"))
    rows.append(("in turn: bare transfer of the same packs", f"{newest['bare']:.2f}"))
    history = [
        (
            run["date"],
            run["version"],
            f"{run.get('load', '')}",
            f"{run['bytes'] / 1e6:.0f}",
            f"{run['phases']['all']:.1f}",
            _ratio(run["ratio"]["all"]),
            _ratio(run["ratio"]["download"]),
        )
        for run in runs
    ]
    header = ("Date", "Version", "Load before", "MB", "Seconds", "All / bare", "Download / bare")
    return (
        f"{_run(newest)}{_table(('Phase', 'Seconds'), rows)}\nEach recorded run:\n\n"
        f"{_table(header, history)}"
    )


def setup(app: Any) -> None:
    """Write the tables that are made from code."""
    made = Path(app.srcdir) / "reference"
    (made / "states.inc").write_text(_states(status.TRANSITIONS))
    (made / "restore-states.inc").write_text(_states(restores.TRANSITIONS))
    (made / "concurrency.inc").write_text(_concurrency())
    (made / "api.inc").write_text(_api())
    runs = json.loads((made / "performance" / "catalogue-runs.json").read_text())
    (made / "performance-catalogue.inc").write_text(_catalogue(runs))
    runs = json.loads((made / "performance" / "runs.json").read_text())
    (made / "performance.inc").write_text(_performance(runs))
    for name, tell in (
        ("restore", _downloads),
        ("readable", _readable),
        ("collect", _collect),
    ):
        runs = json.loads((made / "performance" / f"{name}-runs.json").read_text())
        (made / f"performance-{name}.inc").write_text(tell(runs))
