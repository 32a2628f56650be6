# SPDX-License-Identifier: Apache-2.0
"""What ended restores leave on a node, and for how long.

The staging directory of a restore goes when it has ended. The files that it has fetched stay for a
later restore unless the restore was a success, or was cancelled before it had changed anything.
What no restore uses goes by its age, or to make room. That a database does not know a restore is
no reason to remove its files: it may be another service's.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from magnetodb_backup.cassandra.files.fetched import LEASE, FetchedFiles, all_fetched
from magnetodb_backup.cassandra.files.staging import Staging, staged_restores
from magnetodb_backup.errors import StagingHeld
from magnetodb_backup.tasks.restore import StagingRemoved
from magnetodb_backup.worker.node import LocalNode
from magnetodb_backup.worker.restore.running_imports import EndedRestores

LOG = logging.getLogger(__name__)


class StagingKeeper:
    """Ends the use of staged files; ``max_age`` is the time in seconds for which they are kept."""

    def __init__(self, node: LocalNode, max_age: float) -> None:
        self._max_age = max_age
        self._ended = EndedRestores(node)

    def restores(self, directories: Sequence[str]) -> frozenset[str]:
        """Return the IDs of the restores that have files on this node.

        :raises DataDirectoryProblem: if a data directory cannot be read.
        """
        held = {fetched.held().restore_id for fetched in all_fetched(directories)}
        return staged_restores(directories) | (held - {""})

    def end(self, directories: Sequence[str], restore_id: str, *, keep: bool) -> None:
        """End the use of all files of a restore that has ended; with ``keep`` fetched ones stay.

        :raises ImportRuns: while Cassandra may be importing from its staging directory.
        :raises StagingHeld: while a task of the restore works with its files.
        """
        self.end_fetched(directories, restore_id, keep=keep)
        self._ended.remove_staging(restore_id)

    def end_fetched(
        self, directories: Sequence[str], restore_id: str, *, keep: bool
    ) -> StagingRemoved:
        """End the use of the fetched files; report what stays.

        Without ``keep`` the files of the restore's tables are removed; those of other tables, which
        an earlier restore has fetched, stay.

        :raises StagingHeld: while a task of the restore works with its files.
        """
        kept: dict[str, None] = {}
        size = 0
        for fetched in all_fetched(directories):
            held = fetched.held()
            if held.restore_id != restore_id:
                continue
            with fetched.locked():
                if keep and self._max_age and fetched.size():
                    fetched.release()
                elif fetched.remove(held.tables):
                    continue
                kept |= dict.fromkeys(fetched.patterns)
                size += fetched.size()
        return StagingRemoved(
            kept=tuple(kept), kept_bytes=size, kept_seconds=self._max_age if kept else 0.0
        )

    def note_live(self, directories: Sequence[str], restores: Collection[str]) -> None:
        """Note, on the disk, that these restores run: their files are in use."""
        for restore_id in staged_restores(directories) & set(restores):
            Staging(directories, restore_id).touch()
        for fetched in all_fetched(directories):
            if fetched.held().restore_id in restores:
                fetched.touch()

    def expire(self, directories: Sequence[str], live: Collection[str]) -> None:
        """Remove what no restore has used for longer than ``max_age``.

        :raises ImportRuns: while Cassandra may be importing from a staging directory.
        """
        longest = max(self._max_age, LEASE)
        for fetched in all_fetched(directories):
            if fetched.held().restore_id not in live and fetched.unused_for() > longest:
                self._remove(fetched, f"unused for longer than {longest:g} s")
        for restore_id in sorted(staged_restores(directories) - set(live)):
            if Staging(directories, restore_id).unused_for() > longest:
                LOG.warning("removing what restore %s has staged: it is too old", restore_id)
                self._ended.remove_staging(restore_id)

    def make_room(self, directories: Sequence[str]) -> None:
        """Remove the fetched files that have not been used for the longest time, if any."""
        for fetched in all_fetched(directories):
            if not fetched.held().restore_id:
                self._remove(fetched, "a data directory has too little free space")
                return

    def _remove(self, fetched: FetchedFiles, reason: str) -> None:
        LOG.warning("removing fetched files (%s): %s", reason, ", ".join(fetched.directories))
        try:
            with fetched.locked():
                fetched.remove()
        except StagingHeld as error:
            LOG.info("%s", error)
