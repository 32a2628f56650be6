# SPDX-License-Identifier: Apache-2.0
"""What a restore would do, found out without doing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from magnetodb_backup.domain.backup.manifest import BackupManifest
from magnetodb_backup.domain.restore.records import Existing, Restore
from magnetodb_backup.domain.restore.routing import (
    Method,
    Ways,
    choose_ways,
    copies,
    find_member,
    select_tables,
)
from magnetodb_backup.domain.ring import RingMember
from magnetodb_backup.domain.schema.steps import SchemaSteps, names_of, schema_steps
from magnetodb_backup.domain.tables import Selection, TableName, quote
from magnetodb_backup.errors import RestoreRefused
from magnetodb_backup.repository.cluster import ClusterRepository

_SHOWN = 120  # characters of a statement in a plan


class Preflight:
    """Reads the backup manifest and turns the request into tables, ways and node work.

    ``manifest_sha256`` is the manifest's digest as the catalogue has it; empty if it has none.
    """

    def __init__(
        self, repository: ClusterRepository, restore: Restore, manifest_sha256: str
    ) -> None:
        self._restore, self._request = restore, restore.request
        self.manifest, stored = repository.read_commit(restore.backup_id)
        if manifest_sha256 not in ("", stored.sha256):
            raise RestoreRefused(
                f"the backup manifest {stored.name} has SHA-256 {stored.sha256}, the catalogue "
                f"knows {manifest_sha256}: it was changed after the backup"
            )
        found = repository.digest_schema(restore.backup_id)
        if found != self.manifest.schema:
            raise RestoreRefused(
                f"the schema {found.name} has SHA-256 {found.sha256}, the backup manifest names "
                f"{self.manifest.schema.sha256}: it was changed after the backup"
            )

    def select(self) -> Mapping[str, Any]:
        """Return the source and target of each table, and keyspaces that are restored whole.

        :raises NotFound: for what the backup lacks.
        :raises RestoreRefused: for a PARTIAL backup that was not allowed.
        """
        if self.manifest.status == "PARTIAL" and not self._request.allow_partial:
            raise RestoreRefused(
                f"backup {self._restore.backup_id} is PARTIAL: without the nodes "
                f"{', '.join(self.manifest.missing_nodes) or 'none'}, and some files may be "
                "corrupt; allow it with --allow-partial"
            )
        selection = self.selection()
        whole = [k.name for k in selection.keyspaces if self._is_whole(k.name)]
        return {
            "tables": [
                [[t.name.keyspace, t.name.table], list(self._target(t.name))]
                for t in selection.tables
            ],
            "keyspaces": [[k.name, self._keyspace(k.name)] for k in selection.keyspaces],
            "whole_keyspaces": whole,
            "views": self._views(whole) if self._request.node else [],
        }

    def _is_whole(self, keyspace: str) -> bool:
        return not self._request.tables or keyspace in self._request.keyspaces

    def _views(self, keyspaces: Sequence[str]) -> list[list[list[str]]]:
        """Return the views of whole keyspaces: a single node gets their files too."""
        views = [t.name for t in Selection.from_json(self.manifest.selection).tables if t.is_view]
        return [[[v.keyspace, v.table]] * 2 for v in views if v.keyspace in keyspaces]

    def selection(self) -> Selection:
        """Return the part of the backup that is to be restored."""
        selection = select_tables(
            Selection.from_json(self.manifest.selection),
            self._request.keyspaces,
            [TableName.parse(t) for t in self._request.tables],
            system_auth=self._request.system_auth,
        )
        if not selection.tables and not selection.keyspaces:
            raise RestoreRefused(f"backup {self._restore.backup_id} has nothing to restore")
        return selection

    def _keyspace(self, source: str) -> str:
        return self._request.to_keyspace or source

    def _target(self, source: TableName) -> tuple[str, str]:
        return self._keyspace(source.keyspace), self._request.to_table or source.table

    def ways(
        self,
        ring: Sequence[RingMember],
        present: Mapping[str, Mapping[str, str]],
        selected: Mapping[str, Any],
    ) -> Ways:
        """Choose the way of each keyspace."""
        return choose_ways(
            self.manifest.nodes,
            self.manifest.missing_nodes,
            ring,
            self.selection().keyspaces,
            present,
            target_keyspace=dict(selected["keyspaces"]),
            only=find_member(ring, self._request.node) if self._request.node else None,
            one_replica=self._request.source_replicas == "one",
        )

    def schema(
        self, ways: Ways, compared: Mapping[str, Any], selected: Mapping[str, Any]
    ) -> SchemaSteps:
        """Return the statements to come, in full: the later steps go by them alone."""
        streamed = {
            TableName(*target)
            for source, target in selected["tables"]
            if ways.methods[source[0]] is Method.STREAM
        }
        if self._request.node:  # indexes and views stay, with the rows of the other nodes
            return schema_steps(compared["create"], [], [], [], streamed)
        return schema_steps(
            compared["create"],
            compared["views"],
            compared["present_indexes"],
            compared["present_views"],
            streamed,
        )

    def work(self, ways: Ways, selected: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """Return by target host ID what it takes from which node backup, and how."""
        manifests = {share.host_id: asdict(share.manifest) for share in self.manifest.nodes}
        work: dict[str, list[dict[str, Any]]] = {}
        for assignment in ways.assignments:
            pairs = [*selected["tables"], *selected["views"]]
            tables = [p for p in pairs if p[0][0] in assignment.keyspaces]
            if tables:
                work.setdefault(assignment.target, []).append(
                    {
                        "source": assignment.source,
                        "manifest": manifests[assignment.source],
                        "tables": tables,
                        "method": assignment.method.value,
                    }
                )
        return work


def make_plan(  # noqa: PLR0913
    restore: Restore,
    manifest: BackupManifest,
    ring: Sequence[RingMember],
    selected: Mapping[str, Any],
    compared: Mapping[str, Any],
    ways: Ways,
    steps: SchemaSteps,
    nodes: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Put together what was found; ``problems`` refuse the restore, ``warnings`` do not."""
    members = {m.host_id: m for m in ring}
    problems = [f"{members[h].address}: {p}" for h, n in nodes.items() for p in n["problems"]]
    problems += [f"the schema differs:\n{d}" for d in compared["differences"]]
    problems += _existing_problems(restore, compared)
    problems += _view_problems(selected, compared)
    problems += _version_problems(manifest, ring)
    problems += _datacentre_problems(manifest, ring, selected, compared["replication"])
    tables = [
        {
            "source": ".".join(source),
            "target": ".".join(target),
            "files": sum(_figure(n, target, "files") for n in nodes.values()),
            "bytes": sum(_figure(n, target, "bytes") for n in nodes.values()),
            "exists": compared["exists"][_name(target)],
            "has_rows": compared["has_rows"][_name(target)],
        }
        for source, target in selected["tables"]
    ]
    total = sum(n["bytes"] for n in nodes.values())
    sent = _bytes_sent(manifest, ways, selected, compared["replication"], tables)
    rates = [n["bytes"] / n["bytes_per_second"] for n in nodes.values() if n["bytes_per_second"]]
    return {
        "method_by_keyspace": {k: m.value for k, m in ways.methods.items()},
        "tables": tables,
        "nodes": [
            {
                "host_id": a.target,
                "address": members[a.target].address,
                "sources": sorted({b.source for b in ways.assignments if b.target == a.target}),
                "files": nodes[a.target]["files"],
                "bytes": nodes[a.target]["bytes"],
                "free": nodes[a.target]["free"],
            }
            for a in {a.target: a for a in ways.assignments if a.target in nodes}.values()
        ],
        "requests": sum(n["packs"] for n in nodes.values()),
        "bytes": total,
        "bytes_sent": sent,
        "amplification": round((total + sent) / total, 2) if total else 1.0,
        "expected_seconds": round(max(rates, default=0.0), 1),
        "schema": {
            "create": [_cut(text) for text in (*steps.before, *steps.after)],
            "differences": list(compared["differences"]),
            "notes": [*compared["notes"], *_dropped_meanwhile(compared, steps)],
        },
        "problems": problems,
        "warnings": [*ways.notes, *_warnings(restore, manifest, compared, ways)],
    }


def _cut(statement: str) -> str:
    return statement if len(statement) <= _SHOWN else f"{statement[:_SHOWN]}..."


def _dropped_meanwhile(compared: Mapping[str, Any], steps: SchemaSteps) -> list[str]:
    indexes = [f"index {quote(k)}.{quote(i)}" for k, i in steps.drop]
    present = names_of(compared["present_views"], "view")
    views = [
        f"view {TableName(k, v)}" for k, v in names_of(steps.after, "view") if (k, v) in present
    ]
    return [f"{what} is dropped, and made again from the restored rows" for what in indexes + views]


def _name(pair: Sequence[str]) -> str:
    return str(TableName(*pair))


def _figure(node: Mapping[str, Any], target: Sequence[str], name: str) -> int:
    return int(node["tables"].get(_name(target), {}).get(name, 0))


def _view_problems(selected: Mapping[str, Any], compared: Mapping[str, Any]) -> list[str]:
    present = names_of(compared["present_views"], "view")
    return [
        f"the view {_name(target)} does not exist, and a single node's share does not make it; "
        "make it by CREATE MATERIALIZED VIEW first, or choose tables by --table"
        for _, target in selected["views"]
        if tuple(target) not in present
    ]


def _existing_problems(restore: Restore, compared: Mapping[str, Any]) -> list[str]:
    request = restore.request
    existing = [t for t, found in compared["exists"].items() if found]
    if (request.to_table or request.to_keyspace) and request.existing is Existing.REFUSE:
        return [
            f"the target {t} exists; choose another name, or say --existing replace or merge"
            for t in existing
        ]
    if request.existing is not Existing.REFUSE or request.node:
        return []  # a single node's rows are put back beside those that the others have
    filled = sorted(t for t, found in compared["has_rows"].items() if found)
    if not filled:
        return []
    merged = (
        ", or --existing merge to let the newest write of each cell win, or restore beside under "
        "another name"
    )
    return [
        f"{', '.join(filled)} {'has' if len(filled) == 1 else 'have'} data; say --existing replace "
        f"to get exactly the backup's state{'' if request.offline else merged}"
    ]


def _release(version: str) -> tuple[int, int]:
    major, minor, *_ = (*version.partition("-")[0].split("."), "0", "0")
    return int(major), int(minor)


def _version_problems(manifest: BackupManifest, ring: Sequence[RingMember]) -> list[str]:
    newest = max((n.version for n in manifest.nodes), key=_release)
    return [
        f"node {m.address} runs Cassandra {m.version}, the backup is of {newest}: SSTables and "
        "schema of a newer version cannot be restored into an older one; upgrade the target"
        for m in ring
        if _release(m.version) < _release(newest)
    ]


def _datacentre_problems(
    manifest: BackupManifest,
    ring: Sequence[RingMember],
    selected: Mapping[str, Any],
    present: Mapping[str, Mapping[str, str]],
) -> list[str]:
    known = {m.dc for m in ring}
    replication = {k["name"]: k["replication"] for k in manifest.selection["keyspaces"]}
    problems = []
    for source, target in selected["keyspaces"]:
        if target in present or not replication[source].get("class", "").endswith(
            "NetworkTopologyStrategy"
        ):
            continue
        if unknown := sorted(set(replication[source]) - known - {"class", "replication_factor"}):
            problems.append(
                f"keyspace {source} is replicated to the data centres {', '.join(unknown)}, which "
                f"the target does not have (it has {', '.join(sorted(known))}); make the keyspace "
                "with another replication first"
            )
    return problems


def _bytes_sent(
    manifest: BackupManifest,
    ways: Ways,
    selected: Mapping[str, Any],
    present: Mapping[str, Mapping[str, str]],
    tables: Sequence[Mapping[str, Any]],
) -> int:
    """Return the bytes that the bulk loader sends: each row to all of its replicas."""
    replication = {k["name"]: k["replication"] for k in manifest.selection["keyspaces"]}
    target_of = dict(selected["keyspaces"])
    sent = 0
    for (source, _), table in zip(selected["tables"], tables, strict=True):
        if ways.methods[source[0]] is Method.STREAM:
            now = present.get(target_of[source[0]], replication[source[0]])
            sent += table["bytes"] * max(copies(now), 1)
    return sent


def _warnings(
    restore: Restore, manifest: BackupManifest, compared: Mapping[str, Any], ways: Ways
) -> list[str]:
    age = datetime.now(timezone.utc) - datetime.fromisoformat(manifest.committed_at)
    short = [
        t for t, seconds in compared["gc_grace_seconds"].items() if age.total_seconds() > seconds
    ]
    warnings = []
    if short:
        warnings.append(
            f"the backup is older than gc_grace_seconds of {', '.join(sorted(short))}: Cassandra "
            "may drop tombstones before every replica has them, and deleted rows may come back; "
            "run nodetool repair on these tables right after the restore"
        )
    if ways.incomplete:
        warnings.append(
            f"the backup lacks the nodes {', '.join(manifest.missing_nodes)}: what only they had "
            "is not in it; the restored tables are repaired"
        )
    corrupt = sum(n.corrupt_files for n in manifest.nodes)
    if corrupt:
        warnings.append(f"{corrupt} files were corrupt when the backup was made; see backup show")
    if restore.request.existing is Existing.MERGE:
        warnings.append(
            "merge: for each cell the newest write timestamp wins; rows deleted after the backup "
            "stay deleted, rows written after it stay"
        )
    return warnings
