# SPDX-License-Identifier: Apache-2.0
"""Removes the empty containers of clusters of which nothing is left.

Such a cluster has no worker, so no collection of its own can do it. A container with any object
stays. A cluster that comes back makes its containers again: a backup creates those that it needs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from magnetodb_backup.conductor.definition import JobContext
from magnetodb_backup.errors import BackupError, Conflict, InvalidValue
from magnetodb_backup.repository.format import names

LOG = logging.getLogger(__name__)


def remove_retired(context: JobContext) -> tuple[str, ...]:
    """Remove empty containers of retired clusters; return their names. May be repeated.

    A container that cannot be removed is logged: the next collection tries again.
    """
    removed = []
    for cluster in context.database.clusters.retired():
        for container in _containers(context, cluster):
            context.raise_if_cancelled()
            if _is_removed(context, container):
                LOG.info("removed the empty container %s of cluster %s", container, cluster)
                removed.append(container)
    return tuple(removed)


def _containers(context: JobContext, cluster: str) -> Iterator[str]:
    """Yield the containers of exactly this cluster, those of nodes first."""
    prefix = context.settings.prefix
    try:
        own = names.cluster_container(prefix, cluster)
    except InvalidValue:
        return  # no container can have this name
    listed = list(context.storage().containers(own))
    yield from (n for n in listed if names.parse_node_container(prefix, cluster, n) is not None)
    yield from (n for n in listed if n == own)


def _is_removed(context: JobContext, container: str) -> bool:
    try:
        context.storage().delete_container(container)
    except Conflict:
        return False  # it has objects
    except BackupError as error:
        LOG.warning("container %s is not removed: %s", container, error)
        return False
    return True
