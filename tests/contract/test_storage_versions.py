# SPDX-License-Identifier: Apache-2.0
"""Earlier states of the store: Swift's own versions, and the fake that other tests use."""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from swiftclient import client

from magnetodb_backup.database import Database
from magnetodb_backup.errors import AccessDenied, Conflict, NotFound, StorageRefused
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.stored_backups import StoredBackups
from magnetodb_backup.repository.verify import verify_backup
from magnetodb_backup.requests.rebuild import Rebuild
from magnetodb_backup.requests.rebuild_settings import SettingRebuild
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.storage.swift import SwiftDriver
from tests.contract.test_storage import KEYSTONE
from tests.lab.catalogue import catalogue
from tests.lab.documents import DOCUMENTS
from tests.lab.versioned import VersionedMemory
from tests.unit.repository.backups import commit
from tests.unit.repository.disk import CLUSTER, PACK_SIZE, PREFIX, Disk
from tests.unit.repository.stores import Store
from tests.unit.storage.configured import swift_driver

_REMOVE = DOCUMENTS / "admin" / "remove_old_versions.py"


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def put(driver: StorageDriver, container: str, name: str, body: bytes) -> None:
    driver.put(container, name, body, size=len(body), md5=md5(body))


def get(driver: StorageDriver, container: str, name: str, **part: int) -> bytes:
    return b"".join(driver.read(container, name, **part))


@dataclass
class Versioned:
    """A driver with versions and its clock: ``now()`` is after what is done and before the rest."""

    driver: StorageDriver
    now: Callable[[], datetime]


Make = Callable[..., SwiftDriver]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with catalogue(tmp_path) as made:
        yield made


@pytest.fixture
def make(keystone: Any, swift: Any) -> Iterator[Make]:
    """Make drivers of Keystone's user; Swift remembers its token, unlike those of tempauth."""
    made: list[SwiftDriver] = []

    def make(**values: object) -> SwiftDriver:
        made.append(swift_driver(KEYSTONE | {"auth_url": keystone.auth_url} | values))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def v1(swift: Any) -> dict[str, object]:
    return {
        "auth_type": "v1password",
        "auth_url": swift.auth_v1_url,
        "username": "test:tester",
        "password": "testing",
        "versions": True,
    }


def utc_now() -> datetime:
    """Return the time that the stores of this machine give to what they store."""
    return datetime.now(timezone.utc)


@pytest.fixture(params=["memory", "swift"])
def versioned(request: pytest.FixtureRequest) -> Versioned:
    if request.param == "memory":
        memory = VersionedMemory()
        return Versioned(memory, memory.now)
    driver: StorageDriver = request.getfixturevalue("make")(versions=True)
    return Versioned(driver, utc_now)


@pytest.fixture
def container(versioned: Versioned) -> str:
    name = f"versions.{secrets.token_hex(4)}"
    versioned.driver.ensure_container(name)
    return name


def names(driver: StorageDriver, container: str, prefix: str = "") -> list[str]:
    return [info.name for info in driver.list(container, prefix)]


def test_each_moment_has_its_objects(versioned: Versioned, container: str) -> None:
    driver = versioned.driver
    empty = versioned.now()
    put(driver, container, "a/x", b"first")
    put(driver, container, "a/y", b"other")
    stored = versioned.now()
    put(driver, container, "a/x", b"overwritten")
    driver.delete(container, "a/y")
    destroyed = versioned.now()
    put(driver, container, "a/y", b"again")

    then = driver.as_of(stored)
    assert get(then, container, "a/x") == b"first"
    assert get(then, container, "a/x", offset=1, length=3) == b"irs"
    assert b"".join(then.read_newest(container, "a/x", offset=2)) == b"rst"
    assert get(then, container, "a/y", offset=5) == b""
    assert get(then, container, "a/y", length=0) == b""
    info = then.head(container, "a/x")
    assert info is not None
    assert (info.name, info.size, info.md5) == ("a/x", 5, md5(b"first"))
    assert [i.md5 for i in then.list(container)] == [md5(b"first"), md5(b"other")]
    assert list(then.folders(container, "")) == ["a/"]
    assert container in set(then.containers("versions."))

    later = driver.as_of(destroyed)
    assert names(later, container) == ["a/x"]
    assert get(later, container, "a/x") == b"overwritten"
    assert later.head(container, "a/y") is None
    with pytest.raises(NotFound, match="a/y"):
        get(later, container, "a/y")
    assert names(driver.as_of(empty), container) == []
    assert get(driver.as_of(versioned.now()), container, "a/y") == b"again"


def test_only_whole_names_are_found(versioned: Versioned, container: str) -> None:
    put(versioned.driver, container, "pack10", b"10")
    put(versioned.driver, container, "pack1", b"1")
    then = versioned.driver.as_of(versioned.now())
    assert get(then, container, "pack1") == b"1"
    assert then.head(container, "pack") is None
    assert names(then, container, "pack1") == ["pack1", "pack10"]
    assert names(then, "versions.nowhere") == []
    with pytest.raises(NotFound):
        get(then, "versions.nowhere", "pack1")


def test_an_earlier_state_cannot_be_changed(versioned: Versioned, container: str) -> None:
    put(versioned.driver, container, "o", b"1")
    then = versioned.driver.as_of(versioned.now())
    changes: list[Callable[[], Any]] = [
        lambda: put(then, container, "o", b"2"),
        lambda: then.delete(container, "o"),
        lambda: then.ensure_container(f"{container}.new"),
        lambda: then.delete_container(container),
    ]
    for change in changes:
        with pytest.raises(StorageRefused, match="can only be read"):
            change()
    assert get(versioned.driver, container, "o") == b"1"
    assert list(versioned.driver.containers(f"{container}.new")) == []


def test_a_container_with_old_versions_stays(versioned: Versioned, container: str) -> None:
    put(versioned.driver, container, "o", b"1")
    stored = versioned.now()
    versioned.driver.delete(container, "o")
    with pytest.raises(Conflict, match="old versions"):
        versioned.driver.delete_container(container)
    assert get(versioned.driver.as_of(stored), container, "o") == b"1"


# Swift alone


def test_a_backup_is_whole_after_everything_was_destroyed(
    make: Make, database: Database, tmp_path: Path
) -> None:
    """By the credentials of the service: all objects are overwritten, then deleted."""
    driver = make(versions=True)
    disk = Disk(tmp_path, cast(Store, driver))
    disk.write("one", secrets.token_bytes(PACK_SIZE))
    manifest = commit(disk.cluster, 1, {disk.host_id: disk.upload()})
    stored = utc_now()
    for name in [*driver.containers(f"{PREFIX}.")]:
        for info in list(driver.list(name)):
            put(driver, name, info.name, b"destroyed")
            driver.delete(name, info.name)
    assert _rebuilt(driver, database) == {}
    then = driver.as_of(stored)
    cluster = ClusterRepository(then, PREFIX, CLUSTER)
    report = verify_backup(
        cluster,
        lambda host_id: NodeRepository(then, PREFIX, CLUSTER, host_id),
        manifest.backup_id,
        manifest_sha256="",
        read_data=True,
        progress=lambda files, size: None,
        raise_if_cancelled=lambda: None,
    )
    assert (report.problems, report.bytes_read) == ((), PACK_SIZE)
    assert _rebuilt(then, database) == {manifest.backup_id: "added"}


def _rebuilt(driver: StorageDriver, database: Database) -> dict[str, str]:
    """Rebuild the catalogue; return what happened to each backup, by ID."""
    stored = StoredBackups(driver, PREFIX)
    settings = SettingRebuild(database.settings, stored)
    work = Rebuild(database.backups, stored, _Unwatched(), settings, as_of=utc_now())
    try:
        return {finding.id: finding.result for finding in work.run(CLUSTER)}
    except NotFound:
        return {}


class _Unwatched:
    def begin(self, cluster: str, manifests: int) -> None:
        pass

    def advance(self) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def test_many_versions_need_several_pages(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:

    driver = make(versions=True)
    whole, container = client.get_container, f"versions.{secrets.token_hex(4)}"
    pages: list[int] = []

    def short(*args: Any, **kwargs: Any) -> Any:
        headers, rows = whole(*args, **kwargs | {"limit": 2})
        pages.append(len(rows))
        return headers, rows

    driver.ensure_container(container)
    for body in (b"1", b"2", b"3"):
        put(driver, container, "a", body)
        put(driver, container, "b", body)
    second = utc_now()
    for body in (b"4", b"5"):
        put(driver, container, "a", body)
    monkeypatch.setattr(client, "get_container", short)
    then = driver.as_of(second)
    assert [i.md5 for i in then.list(container)] == [md5(b"3"), md5(b"3")]
    assert pages == [2, 2, 2, 2, 0]
    assert get(then, container, "a") == b"3"


def test_what_was_stored_before_versioning(make: Make) -> None:
    """An existing container begins to keep versions, and its objects keep their times."""
    plain, container = make(), f"versions.{secrets.token_hex(4)}"
    plain.ensure_container(container)
    for name in ("kept", "replaced", "deleted"):
        put(plain, container, name, b"old")
    stored = utc_now()
    with pytest.raises(StorageRefused, match=r"never kept versions.*\[swift\] versions = true"):
        list(plain.as_of(stored).list(container))
    for _ in range(2):
        make(versions=True).ensure_container(container)
    put(plain, container, "replaced", b"new")
    plain.delete(container, "deleted")
    then = plain.as_of(stored)  # to read needs no option
    assert names(then, container) == ["deleted", "kept", "replaced"]
    assert {get(then, container, name) for name in names(then, container)} == {b"old"}
    assert names(plain.as_of(stored - timedelta(minutes=5)), container) == []


def test_versions_stay_while_versioning_is_disabled(make: Make) -> None:
    """The next backup enables it again."""
    driver, container = make(versions=True), f"versions.{secrets.token_hex(4)}"
    driver.ensure_container(container)
    for name in ("replaced", "deleted"):
        put(driver, container, name, b"old")
    stored = utc_now()
    disabled = {"X-Versions-Enabled": "false"}
    client.post_container(driver.account_url(), driver._access.token(), container, disabled)
    put(driver, container, "replaced", b"new")
    driver.delete(container, "deleted")
    then = driver.as_of(stored)
    assert {get(then, container, name) for name in names(then, container)} == {b"old"}
    assert names(then, container) == ["deleted", "replaced"]
    driver.ensure_container(container)
    put(driver, container, "replaced", b"newer")
    assert get(driver.as_of(utc_now()), container, "replaced") == b"newer"


def test_old_versions_are_removed(make: Make) -> None:
    """By the program of the manual: all states since a time can still be read."""
    driver, container = make(versions=True), f"versions.{secrets.token_hex(4)}"
    driver.ensure_container(container)
    put(driver, container, "kept", b"1")
    for name in ("replaced", "deleted"):
        put(driver, container, name, b"old")
        put(driver, container, name, b"new")
    driver.delete(container, "deleted")
    since = utc_now()
    put(driver, container, "replaced", b"newest")
    url, token = driver.account_url(), driver._access.token()
    for options, report in (([], "can be removed"), (["--yes"], "removed")):
        done = subprocess.run(
            [sys.executable, str(_REMOVE), container, since.isoformat(), *options],
            env={**os.environ, "OS_STORAGE_URL": url, "OS_AUTH_TOKEN": token},
            check=True,
            capture_output=True,
            text=True,
        )
        # Of "deleted" its marker too; of "replaced" the first version.
        assert done.stdout == f"4 versions with 9 bytes {report}\n"
    then = driver.as_of(since)
    assert {i.name: i.md5 for i in then.list(container)} == {
        "kept": md5(b"1"), "replaced": md5(b"new"),
    }  # fmt: skip
    assert get(driver, container, "replaced") == b"newest"
    rows = client.get_container(url, token, container, query_string="versions=true")[1]
    assert [row["name"] for row in rows] == ["kept", "replaced", "replaced"]


def test_who_may_only_write_objects_cannot_remove_versions(v1: dict[str, object]) -> None:
    """The owner of the account makes the containers; the service has their lists of rights."""
    container, owner = f"versions.{secrets.token_hex(4)}", swift_driver(v1)
    owner.ensure_container(container)
    url = owner.account_url()
    rights = {"X-Container-Read": "test:reader,.rlistings", "X-Container-Write": "test:reader"}
    client.post_container(url, owner._access.token(), container, rights)
    limited = swift_driver(
        v1
        | {
            "username": "test:reader",
            "password": "reading",
            "storage_url": url,
        }
    )
    limited.ensure_container(container)  # it keeps versions already
    put(limited, container, "o", b"1")
    assert get(limited, container, "o") == b"1"
    stored = utc_now()
    put(limited, container, "o", b"2")
    limited.delete(container, "o")
    token = limited._access.token()
    rows = client.get_container(url, token, container, query_string="versions=true")[1]
    oldest = f"version-id={rows[-1]['version_id']}"
    with pytest.raises(client.ClientException, match="403"):
        client.delete_object(url, token, container, "o", query_string=oldest)
    with pytest.raises(client.ClientException, match="403"):
        client.post_container(url, token, container, {"X-Versions-Enabled": "false"})
    with pytest.raises(AccessDenied):
        limited.ensure_container(f"{container}.new")
    with pytest.raises(AccessDenied):
        list(limited.containers("versions."))
    assert get(owner.as_of(stored), container, "o") == b"1"
    with pytest.raises(AccessDenied):
        get(limited.as_of(stored), container, "o")
    limited.close()
    owner.close()
