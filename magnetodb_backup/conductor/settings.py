# SPDX-License-Identifier: Apache-2.0
"""Copies schedules, retention policies and marks to the store; any number of conductors may.

What has to be copied is recorded in the transaction of the change. A conductor that ends at any
moment leaves that record, and the next one stores the same bytes under the same name.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from magnetodb_backup.database import Database
from magnetodb_backup.domain.settings.records import SettingCopy, SettingKey, time_of
from magnetodb_backup.errors import BackupError, Permanent
from magnetodb_backup.repository.settings import StoredSettings
from magnetodb_backup.storage.driver import StorageDriver

LOG = logging.getLogger(__name__)
_AT_ONCE = 100  # copies read in a transaction


class SettingLoop:
    """Looks for settings to copy, at least every ``interval`` seconds.

    It has a thread of its own, because the store may not answer for a long time.
    """

    def __init__(
        self,
        database: Database,
        storage: Callable[[], StorageDriver],
        *,
        prefix: str,
        interval: float,
        stopping: threading.Event,
    ) -> None:
        self._database, self._storage, self._prefix = database, storage, prefix
        self._interval, self._stopping = interval, stopping
        self._woken = threading.Event()
        self._trouble = ""
        self._refused: dict[SettingKey, str] = {}

    def wake(self) -> None:
        """Look now instead of at the end of the interval."""
        self._woken.set()

    def run(self) -> None:
        """Look until stopped; an outage is logged once and waited for."""
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                self.look()
                self._trouble = ""
            except BackupError as error:
                if str(error) != self._trouble:
                    LOG.warning("cannot copy settings to the store; trying again: %s", error)
                self._trouble = str(error)
            except Exception:
                LOG.exception("copying settings to the store failed; the next look follows")
            self._woken.wait(self._interval)

    def look(self) -> None:
        """Store what has to be copied. What the store refuses does not keep up the rest.

        :raises DatabaseUnavailable: if the database does not answer.
        :raises StorageUnavailable: if the store does not answer.
        """
        stores: dict[str, StoredSettings] = {}
        last: SettingKey | None = None
        while copies := self._database.settings.pending(_AT_ONCE, after=last):
            for copy in copies:
                if self._stopping.is_set():
                    return
                self._store(copy, stores)
            last = copies[-1].key

    def _store(self, copy: SettingCopy, stores: dict[str, StoredSettings]) -> None:
        key = copy.key
        try:
            newest = self._stored(key.cluster, stores).put(copy)
        except Permanent as error:
            if self._refused.get(key) != str(error):
                self._refused[key] = str(error)
                LOG.error("cannot copy %s to the store: %s", _text(key), error)
            return
        self._refused.pop(key, None)
        self._database.settings.copied(key, copy.generation)
        if newest > copy.generation and self._is_current(copy):
            LOG.warning(
                "the store has a newer copy of %s, of %s, than the database, of %s; catalogue "
                "rebuild records it",
                _text(key),
                f"{time_of(newest):%Y-%m-%d %H:%M:%S} UTC",
                f"{copy.changed_at:%Y-%m-%d %H:%M:%S} UTC",
            )

    def _stored(self, cluster: str, stores: dict[str, StoredSettings]) -> StoredSettings:
        if cluster not in stores:
            stored = StoredSettings(self._storage(), self._prefix, cluster)
            stored.ensure()
            stores[cluster] = stored
        return stores[cluster]

    def _is_current(self, copy: SettingCopy) -> bool:
        """Return whether the database has no newer generation, which another one has copied."""
        return self._database.settings.generation(copy.key) == copy.generation


def _text(key: SettingKey) -> str:
    return f"{key.kind.value} {key.subject} of cluster {key.cluster!r}"
