# SPDX-License-Identifier: Apache-2.0
"""The independent reader finds deleted backups, and undeletes one as the format's page says."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError

from magnetodb_backup.errors import NotFound
from magnetodb_backup.repository.deleted import DeletedBackups
from tests.lab.reader import Reader, Store
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import CLUSTER, PREFIX, Disk, backup_id, noise
from tests.unit.repository.stores import Store as Memory

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


class InMemory(Store):
    """The requests of the reader, answered without a server."""

    def __init__(self, driver: Memory) -> None:
        super().__init__("", "")
        object.__setattr__(self, "driver", driver)
        self.driver: Memory

    def get(self, container: str, name: str, start: int = 0, length: int | None = None) -> bytes:
        try:
            return b"".join(self.driver.read(container, name, offset=start, length=length))
        except NotFound as error:
            raise HTTPError(name, 404, str(error), Message(), None) from None

    def put(self, container: str, name: str, body: bytes) -> None:
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self.driver.put(container, name, body, size=len(body), md5=md5)

    def names(self, container: str, prefix: str) -> list[str]:
        return [info.name for info in self.driver.list(container, prefix)]


def test_deleted_backup_is_found_and_undeleted_by_hand(tmp_path: Path) -> None:
    driver = Memory()
    disk = Disk(tmp_path, driver)
    disk.write("a", noise(1, 10))
    commit(disk.cluster, 1, {disk.host_id: disk.upload(1)})
    reader = Reader(InMemory(driver), PREFIX, CLUSTER)
    before = reader.manifest(backup_id(1))
    assert reader.deleted_ids() == []
    deleted = DeletedBackups(driver, PREFIX, CLUSTER)
    deleted.set_aside(backup_id(1), NOW, NOW)
    deleted.remove_manifest(backup_id(1))
    assert reader.deleted_ids() == [backup_id(1)]
    assert reader.deleted(backup_id(1))["undelete_until"] == NOW.isoformat()
    reader.undelete(backup_id(1))
    assert reader.manifest(backup_id(1)) == before
    assert list(reader.content(backup_id(1)).values()) == [noise(1, 10)]
