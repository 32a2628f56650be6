# SPDX-License-Identifier: Apache-2.0
"""The part of a plan about data centres: those that are missing, and those that get no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from magnetodb_backup.conductor.restore.findings import Findings
from magnetodb_backup.conductor.restore.preflight import SourceBackup
from magnetodb_backup.domain.backup.data_centers import as_text
from magnetodb_backup.domain.restore.routing import Method
from magnetodb_backup.domain.restore.source_ring import factors
from magnetodb_backup.domain.schema.steps import names_of
from magnetodb_backup.domain.tables import quote
from magnetodb_backup.tasks.cluster import Member


def data_center_problems(source: SourceBackup, found: Findings) -> list[str]:
    """Return the keyspaces whose data centres the target lacks, or whose nodes lack workers."""
    return [*_missing_data_centers(source, found), *_streams_without_workers(found)]


def data_center_warnings(source: SourceBackup, found: Findings) -> list[str]:
    """Return what is different on nodes of other data centres than the backup's."""
    manifest, warnings = source.manifest, []
    outside = [m.address for m in found.ring if m.dc not in manifest.data_centers]
    if found.routing.by_repair:
        warnings.append(
            f"the backup is of {as_text(manifest.data_centers)} only: {', '.join(outside)} get no "
            f"files. The repair at the end brings them the rows of the keyspaces "
            f"{', '.join(found.routing.by_repair)}, which they lack until then"
        )
    if found.absent:
        views = names_of(found.steps.after, "view")
        not_waited = ", nor are their views waited for" if views else ""
        warnings.append(
            f"no usable worker on {_named(found.absent)}: their settings and their free room are "
            f"not looked at{not_waited}"
        )
    return warnings


def _missing_data_centers(source: SourceBackup, found: Findings) -> list[str]:
    known = {m.dc for m in found.ring}
    replication = source.replication()
    problems = []
    for name, target in found.selected.keyspaces:
        if target in found.compared.replication or not replication[name].get("class", "").endswith(
            "NetworkTopologyStrategy"
        ):
            continue
        wanted = factors(replication[name])
        if unknown := sorted(set(wanted) - {"class", "replication_factor"} - known):
            example = _replication_for(known, wanted)
            problems.append(
                f"keyspace {name} is replicated to the data centres {', '.join(unknown)}, which "
                f"the target does not have (it has {', '.join(sorted(known))}); make the keyspace "
                f"with another replication first, for example CREATE KEYSPACE {quote(target)} WITH "
                f"replication = {example}"
            )
    return problems


def _replication_for(known: set[str], wanted: Mapping[str, str]) -> str:
    """Return a replication for the data centres that are there, with the factors as far as known.

    A new data centre gets the largest factor.
    """
    largest = max((v for k, v in wanted.items() if k != "class"), key=lambda v: (len(v), v))
    there = {dc: wanted[dc] for dc in sorted(known) if dc in wanted}
    chosen = there or dict.fromkeys(sorted(known), largest)
    return str({"class": "NetworkTopologyStrategy", **chosen})


def _streams_without_workers(found: Findings) -> list[str]:
    streamed = [k for k, method in found.routing.methods.items() if method is Method.STREAM]
    if not (streamed and found.absent):
        return []
    return [
        f"the keyspaces {', '.join(streamed)} are streamed, which needs a worker on each node; "
        f"there is none on {_named(found.absent)}. Start magnetodb-backup-worker there"
    ]


def _named(members: Sequence[Member]) -> str:
    return ", ".join(f"{m.address} ({m.dc})" for m in members)
