# SPDX-License-Identifier: Apache-2.0
"""Stores that do not keep versions, and the decorators of a driver that does."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from pathlib import Path

import pytest

from magnetodb_backup.errors import InvalidValue, StorageRefused, StorageUnavailable
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.storage.filesystem import FilesystemDriver
from magnetodb_backup.storage.memory import MemoryDriver
from magnetodb_backup.storage.retrying import Retrying
from magnetodb_backup.storage.throttling import Throttled
from tests.lab.versioned import VersionedMemory
from tests.unit.repository.stores import Store
from tests.unit.storage.configured import swift_driver
from tests.unit.storage.fake_swift import PASSWORD, FakeSwift, Fault, fake_swift

THEN = datetime(2026, 11, 30, tzinfo=timezone.utc)


def _driver(store: FakeSwift, *, versions: bool) -> StorageDriver:
    return swift_driver(
        {
            "auth_type": "v1password",
            "auth_url": store.auth_url,
            "username": "test:tester",
            "password": PASSWORD,
            "versions": versions,
        }
    )


def test_a_store_that_ignores_the_request_is_refused() -> None:
    with fake_swift() as store:
        driver = _driver(store, versions=True)
        with pytest.raises(StorageRefused, match=r"allow_object_versioning = true.*versions = f"):
            driver.ensure_container("c")
        driver.close()


def test_a_store_that_refuses_the_request_is_named_with_the_remedy() -> None:
    with fake_swift() as store:
        store.faults.append(Fault("PUT", status=400))
        driver = _driver(store, versions=True)
        with pytest.raises(StorageRefused, match=r"answered 400.*allow_object_versioning = true"):
            driver.ensure_container("c")
        driver.close()


def test_without_the_option_nothing_is_asked_for() -> None:
    with fake_swift() as store:
        driver = _driver(store, versions=False)
        driver.ensure_container("c")
        assert store.count("HEAD") == 0
        driver.close()


@pytest.mark.parametrize("kind", ["memory", "filesystem", "retrying"])
def test_other_drivers_refuse_by_name(tmp_path: Path, kind: str) -> None:
    driver, name = {
        "memory": (MemoryDriver(), "MemoryDriver"),
        "filesystem": (FilesystemDriver(tmp_path), "FilesystemDriver"),
        "retrying": (Retrying(Throttled(MemoryDriver(), lambda: 0), deadline=9), "MemoryDriver"),
    }[kind]
    with pytest.raises(InvalidValue, match=f"^{name} keeps no earlier versions"):
        driver.as_of(THEN)


def test_the_view_repeats_as_its_driver_does() -> None:
    store, failures = Store(), [StorageUnavailable("busy")]
    store.ensure_container("c")
    store.put("c", "o", b"1", size=1, md5=hashlib.md5(b"1").hexdigest())

    class Flaky(MemoryDriver):
        def head(self, container: str, name: str) -> None:
            if failures:
                raise failures.pop()

    store.earlier[THEN] = Flaky()
    driver = Retrying(Throttled(store, lambda: 0), deadline=9, sleep=lambda seconds: None)
    assert driver.as_of(THEN).head("c", "o") is None
    assert failures == []
    assert driver.head("c", "o") is not None  # the driver itself still has the present state


def test_the_view_shares_the_pace() -> None:
    rates: list[int] = []

    def rate() -> int:
        rates.append(0)
        return 0

    store = VersionedMemory()
    driver = Throttled(store, rate)
    driver.ensure_container("c")
    driver.put("c", "o", b"1", size=1, md5=hashlib.md5(b"1").hexdigest())
    view, before = driver.as_of(store.now()), len(rates)
    assert b"".join(view.read("c", "o")) == b"1"
    assert len(rates) > before
