# SPDX-License-Identifier: Apache-2.0
"""The copies of a cluster's settings, in its container ``<prefix>.<cluster>``.

Each generation is an object of its own, so that a late write of an older one replaces nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from magnetodb_backup.domain.settings.records import SettingCopy, SettingKey
from magnetodb_backup.errors import NotFound, Permanent
from magnetodb_backup.repository.format import names as layout
from magnetodb_backup.repository.format.settings import parse_setting, setting_bytes
from magnetodb_backup.storage.driver import StorageDriver

_READERS = 8  # copies that are read at the same time


@dataclass(frozen=True)
class UnreadableSetting:
    """A copy that this version cannot use."""

    key: SettingKey
    generation: int
    reason: str


class StoredSettings:
    """Reads and writes the copies of one cluster's settings; each method can be repeated."""

    def __init__(self, driver: StorageDriver, prefix: str, cluster: str) -> None:
        self._driver, self._cluster = driver, cluster
        self._container = layout.cluster_container(prefix, cluster)

    def ensure(self) -> None:
        """Create the container if it does not exist."""
        self._driver.ensure_container(self._container)

    def put(self, copy: SettingCopy) -> int:
        """Store a copy and remove the older ones; return the newest generation in the store.

        If that is a newer one, nothing is stored.
        """
        stored = [generation for _, generation in self._listed(layout.setting_prefix(copy.key))]
        if (newest := max(stored, default=0)) > copy.generation:
            return newest
        body = setting_bytes(copy)
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        name = layout.setting_name(copy.key, copy.generation)
        self._driver.put(self._container, name, body, size=len(body), md5=md5)
        for older in stored:
            if older < copy.generation:
                self._driver.delete(self._container, layout.setting_name(copy.key, older))
        return copy.generation

    def newest(self) -> Iterator[SettingCopy | UnreadableSetting]:
        """Yield the newest copy of each setting of the cluster, by name."""
        newest = dict(self._listed(layout.SETTINGS))  # sorted by generation
        with ThreadPoolExecutor(_READERS, thread_name_prefix="setting") as pool:
            yield from pool.map(self._read, newest.items())

    def _listed(self, prefix: str) -> list[tuple[SettingKey, int]]:
        names = (info.name for info in self._driver.list(self._container, prefix))
        parsed = (layout.parse_setting_name(self._cluster, name) for name in names)
        return [found for found in parsed if found is not None]

    def _read(self, item: tuple[SettingKey, int]) -> SettingCopy | UnreadableSetting:
        key, generation = item
        name = layout.setting_name(key, generation)
        try:
            text = b"".join(self._driver.read_newest(self._container, name))
            return parse_setting(text, name, self._cluster)
        except NotFound:
            reason = f"{name}: is listed, but is not in the store; repeat when its listing is new"
            return UnreadableSetting(key, generation, reason)
        except Permanent as error:
            return UnreadableSetting(key, generation, str(error))
