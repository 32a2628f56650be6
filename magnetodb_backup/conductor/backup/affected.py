# SPDX-License-Identifier: Apache-2.0
"""Finds the backups that need damaged packs: the backups of a node share its packs.

Either a verification reads the manifest of a backup whose upload ends at the same time, or that
backup reads the damage: each writes first and reads then.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.domain.backup.collection import KnownManifest
from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.errors import CorruptObject, FormatProblem, NotFound
from magnetodb_backup.repository.format.names import node_manifest_name

LOG = logging.getLogger(__name__)
_BATCH = 10_000  # entries of a manifest between two looks at a cancellation


def note_affected(
    context: JobContext, cluster: str, damaged: Mapping[str, Collection[str]], only: str = ""
) -> dict[str, int]:
    """Record the backups that need damaged packs, given by host ID; may be repeated.

    All node manifests of these nodes that the catalogue knows are read, one line at a time; with
    ``only`` those of that backup. Returns the number of damaged packs that each backup needs.

    :raises StorageUnavailable: if the store does not answer.
    """
    counts: dict[str, int] = {}
    for host_id, packs in sorted(damaged.items()):
        for known in context.database.backups.manifests_of(cluster, host_id).known:
            if only not in ("", known.backup_id):
                continue
            if needed := _needed(context, cluster, host_id, known, packs):
                context.database.damaged_packs.need(cluster, host_id, known.backup_id, needed)
                counts[known.backup_id] = counts.get(known.backup_id, 0) + len(needed)
    return counts


def _needed(
    context: JobContext,
    cluster: str,
    host_id: str,
    known: KnownManifest,
    damaged: Collection[str],
) -> set[str]:
    """Return those of the packs that a node manifest names, as far as it can be read."""
    name, needed = node_manifest_name(known.backup_id, host_id), set[str]()
    expected = StoredObject(name, known.size, known.sha256)
    context.raise_if_cancelled()
    try:
        manifest = context.repository(cluster).node_manifest(known.backup_id, host_id, expected)
        for number, entry in enumerate(manifest, 1):
            needed.update(e.pack for e in entry.extents if e.pack in damaged)
            if number % _BATCH == 0:
                context.raise_if_cancelled()
    except (CorruptObject, FormatProblem, NotFound) as error:
        # Its own verification finds that; a backup that has failed may have none.
        LOG.warning("node manifest of %s in backup %s: %s", host_id, known.backup_id, error)
    return needed
