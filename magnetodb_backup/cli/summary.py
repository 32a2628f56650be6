# SPDX-License-Identifier: Apache-2.0
"""The readable form of backups and restores: fields of a table, and summary of a job."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TextIO

from magnetodb_backup.cli.plan import check_lines
from magnetodb_backup.cli.units import count, duration, moment, share, size
from magnetodb_backup.domain.backup.data_centers import as_text
from magnetodb_backup.domain.backup.records import Backup, NodeBackup
from magnetodb_backup.domain.backup.status import BackupStatus
from magnetodb_backup.domain.coverage import EXCLUDED
from magnetodb_backup.domain.restore.records import (
    NodeRestore,
    Restore,
    RestoreRequest,
    RestoreStatus,
)

_WHOLE = (BackupStatus.CREATED, BackupStatus.PARTIAL)


@dataclass(frozen=True)
class Summary:
    """What a job did, and what to do next.

    ``facts`` are (label, text), ``next`` (purpose, command line); warnings come last.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    next: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = field(default=())

    def write(self, out: TextIO) -> None:
        """Write to ``out``, in colour if it is a terminal and NO_COLOR is not set."""
        from rich.console import Console

        console = Console(file=out, highlight=False)
        for line, style in self._lines():
            console.print(line, style=style, markup=False, emoji=False, soft_wrap=True)

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield self.title, "bold"
        width = max((len(label) for label, _ in self.facts), default=0)
        for label, text in self.facts:
            first, *more = text.splitlines()
            yield f"  {label:<{width}}  {first}", ""
            yield from ((f"  {'':<{width}}  {line}", "") for line in more)
        if self.next:
            yield "Next", "bold"
        width = max((len(purpose) for purpose, _ in self.next), default=0)
        yield from ((f"  {purpose:<{width}}  {command}", "") for purpose, command in self.next)
        if self.warnings:
            yield "Warnings", "bold yellow"
        yield from ((f"  {warning}", "yellow") for warning in self.warnings)


def scope_text(scope: Mapping[str, Any]) -> str:
    """Return what a backup was asked to take."""
    kind, rest = scope.get("type"), {k: v for k, v in scope.items() if k != "type"}
    if kind == "all":
        return "all keyspaces"
    if kind in ("keyspaces", "tables") and list(rest) == [kind]:
        return f"{kind} {', '.join(map(str, rest[str(kind)]))}"
    return f"{kind} {json.dumps(rest)}" if rest else str(kind)


def _took(record: Backup | Restore) -> str:
    if record.finished_at is None:
        return ""
    return duration((record.finished_at - record.created_at).total_seconds())


def _span(begin: datetime, end: datetime | None) -> str:
    return f"{moment(begin)} to {moment(end)}"


def _headline(kind: str, record: Backup | Restore, name: str = "") -> str:
    named = f" {name!r}" if name else ""
    return f"{kind} {record.id}{named} is {record.status.value}"


# Backups


def _saved(backup: Backup) -> str:
    return f"{count(backup.files, 'file')}, {size(backup.bytes)}"


def _new(backup: Backup) -> str:
    reused = f"{size(backup.bytes_reused)} re-used, already in the store"
    if backup.bytes and backup.bytes_reused:
        reused += f" ({share(backup.bytes_reused, backup.bytes)})"
    return f"{size(backup.bytes_uploaded)} uploaded; {reused}"


def _tables(backup: Backup) -> str:
    selection = backup.selection or {}
    tables, keyspaces = selection.get("tables", ()), selection.get("keyspaces", ())
    if not tables:
        return ""
    return f"{count(len(tables), 'table')} of {count(len(keyspaces), 'keyspace')}"


_COVERED = {
    "complete": "every row, from all its replicas",
    "partial": "every row, some from fewer replicas than the cluster has",
    "lost": "not every row: some token ranges have no replica in the backup",
    EXCLUDED: "not at all: its data centres have no complete copy",
}


def _restorable(backup: Backup) -> str:
    """Return a line for each state of coverage, with the keyspaces that have it."""
    by_status: dict[str, list[str]] = {}
    for keyspace, found in (backup.coverage or {}).items():
        by_status.setdefault(str(found.get("status")), []).append(keyspace)
    texts = dict(_COVERED)
    if backup.data_centers:
        texts["complete"] += f" in {as_text(backup.data_centers)}"
    if len(by_status) == 1:
        (status,) = by_status
        return texts.get(status, status)
    return "\n".join(
        f"{', '.join(names)}: {texts.get(status, status)}" for status, names in by_status.items()
    )


def _undelete(backup: Backup) -> str:
    if backup.status is not BackupStatus.DELETED:
        return ""
    if backup.undelete_until is not None:
        return f"possible until {moment(backup.undelete_until)}"
    purged = f"; purged {moment(backup.purged_at)}" if backup.purged_at is not None else ""
    return f"not possible{purged}"


def _node_backup_line(node: NodeBackup) -> str:
    p = node.progress
    end = f": {node.error}" if node.error else ""
    return (
        f"{node.address}: {node.phase}, {p.files_done:,} of {count(p.files_total, 'file')}, "
        f"{size(p.bytes_done)}, {size(p.bytes_uploaded)} uploaded, "
        f"{size(p.bytes_reused)} re-used{end}"
    )


def backup_fields(
    backup: Backup,
    nodes: Iterable[NodeBackup],
    proofs: Sequence[str] = (),
    verification: Sequence[str] = (),
    damage: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what a table shows of a backup; empty values are left out there.

    ``proofs`` are lines about how far it is proved, ``verification`` those about a verification
    that runs, ``damage`` those about damage of what the backup needs.
    """
    whole = backup.status in _WHOLE
    running = backup.status is BackupStatus.CREATING
    return {
        "id": backup.id,
        "name": backup.name,
        "cluster": backup.cluster,
        "status": backup.status.value,
        "step": backup.phase if running else "",
        "error": backup.error,
        "waiting for": backup.waiting_for,
        "notes": "\n".join(backup.notes),
        "damage": "\n".join(damage),
        "scope": scope_text(backup.scope),
        "data centres": ", ".join(backup.data_centers),
        "tables": _tables(backup),
        "created": moment(backup.created_at),
        "took": _took(backup),
        "deleted": moment(backup.deleted_at),
        "undelete": _undelete(backup),
        "saved": _saved(backup) if whole else "",
        "new": _new(backup) if whole else "",
        "restores": _restorable(backup),
        "snapshots": f"taken within {backup.skew_ms} ms" if backup.skew_ms is not None else "",
        "fingerprints": "yes" if backup.figures else "",
        "kept": f"for ever: {backup.kept_reason}" if backup.kept_reason else "",
        "proved": "\n".join(proofs),
        "verification": "\n".join(verification),
        "nodes": "\n".join(_node_backup_line(node) for node in nodes),
    }


def follow_up(command: str, kind: str, id_: str) -> str:
    """Return how to follow a job that runs; ``command`` is the program with its configuration."""
    return f"\nNext\n  follow it  {command} {kind} show {id_}\n"


def backup_summary(backup: Backup, nodes: Sequence[NodeBackup], command: str) -> Summary:
    """Return the summary of a backup's end; ``command`` is the program with its configuration."""
    time = f"{_took(backup)} ({_span(backup.created_at, backup.finished_at)})"
    show = ("see its nodes", f"{command} backup show {backup.id}")
    if backup.status not in _WHOLE:
        at = f", in step {backup.phase}" if backup.phase else ""
        facts = [("time", f"{time}{at}")]
        return Summary(_headline("Backup", backup, backup.name), facts, [show])
    complete = sum(1 for node in nodes if node.manifest_sha256 or node.phase == "done")
    tables = f"{_tables(backup)} on " if backup.selection else ""
    facts = [
        ("saved", f"{tables}{count(complete, 'node')}: {_saved(backup)}"),
        ("new", _new(backup)),
        ("time", time),
    ]
    if backup.skew_ms is not None:
        facts.append(("snapshots", f"taken within {backup.skew_ms} ms"))
    if backup.data_centers:
        facts.append(("data centres", ", ".join(backup.data_centers)))
    if restores := _restorable(backup):
        facts.append(("restores", restores))
    partial = " --allow-partial" if backup.status is BackupStatus.PARTIAL else ""
    restore = f"{command} restore create {backup.id}{partial}"
    following = [
        ("verify it", f"{command} backup verify {backup.id}"),
        ("plan a restore", f"{restore} --dry-run"),
        ("restore it", f"{restore} --wait"),
    ]
    if backup.status is BackupStatus.PARTIAL:
        following.insert(0, show)
    return Summary(_headline("Backup", backup, backup.name), facts, following)


# Restores


def _node_restore_line(node: NodeRestore) -> str:
    p = node.progress
    sent = f", {size(p.bytes_sent)} streamed" if p.bytes_sent else ""
    end = f": {node.error}" if node.error else ""
    return (
        f"{node.address}: {node.phase}, {p.files_done:,} of {count(p.files_total, 'file')}, "
        f"{size(p.bytes_done)} of {size(p.bytes_total)}, "
        f"{count(p.sstables_imported, 'SSTable')} imported{sent}{end}"
    )


def unusual(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a request (as JSON) that do not have their default."""
    usual = RestoreRequest("").as_json()
    return {k: v for k, v in request.items() if v != usual.get(k) and k != "backup_id"}


def restore_fields(restore: Restore, nodes: Iterable[NodeRestore]) -> dict[str, Any]:
    """Return what a table shows of a restore; empty values are left out there."""
    source = restore.source_cluster
    request = unusual(restore.request.as_json())
    return {
        "id": restore.id,
        "backup": restore.backup_id,
        "from cluster": source if source != restore.cluster else "",
        "into cluster": restore.cluster,
        "status": restore.status.value,
        "step": restore.phase if restore.status is RestoreStatus.RESTORING else "",
        "error": restore.error,
        "waiting for": restore.waiting_for,
        "request": json.dumps(request) if request else "",
        "created": moment(restore.created_at),
        "took": _took(restore),
        "tables": "\n".join(f"{table}: {state}" for table, state in restore.tables.items()),
        "checks": "\n".join(check_lines(restore.checks)),
        "nodes": "\n".join(_node_restore_line(node) for node in nodes),
    }


def _table_counts(restore: Restore) -> str:
    states = Counter(restore.tables.values())
    return f"{states['restored']} of {count(len(restore.tables), 'table')} restored"


def restore_summary(restore: Restore, nodes: Sequence[NodeRestore], command: str) -> Summary:
    """Return the summary of a restore's end; ``command`` is the program with its configuration."""
    time = f"{_took(restore)} ({_span(restore.created_at, restore.finished_at)})"
    show = ("see its tables and nodes", f"{command} restore show {restore.id}")
    title = _headline("Restore", restore)
    if restore.status is not RestoreStatus.RESTORED:
        at = f", in step {restore.phase}" if restore.phase else ""
        facts = [("tables", _table_counts(restore))] if restore.tables else []
        return Summary(title, [*facts, ("time", f"{time}{at}")], [show])

    def total(name: str) -> int:
        return sum(int(getattr(node.progress, name)) for node in nodes)

    delivered = f"{count(total('sstables_imported'), 'SSTable')} imported"
    if total("bytes_sent"):
        delivered += f", {size(total('bytes_sent'))} streamed"
    facts = [
        (
            "restored",
            f"{_table_counts(restore)} on {count(len(nodes), 'node')}: "
            f"{count(total('files_done'), 'file')}, {size(total('bytes_done'))}, {delivered}",
        ),
        (
            "fetched",
            f"{size(total('bytes_downloaded'))} from the store; {size(total('bytes_resumed'))} "
            "re-used, staged by an earlier attempt",
        ),
        ("time", time),
    ]
    if restore.checks:
        facts.append(("rows compared", "\n".join(check_lines(restore.checks))))
    warnings = tuple((restore.plan or {}).get("warnings", ()))
    return Summary(title, facts, [show], warnings)
