# SPDX-License-Identifier: Apache-2.0
"""What every storage driver promises, and Swift's ways of failing through a real Swift."""

from __future__ import annotations

import hashlib
import io
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magnetodb_backup.errors import (
    AccessDenied,
    Conflict,
    IncompleteBody,
    InvalidValue,
    NoSpace,
    NotFound,
    ObjectTooShort,
    StorageUnavailable,
)
from magnetodb_backup.storage.driver import StorageDriver
from magnetodb_backup.storage.filesystem import FilesystemDriver
from magnetodb_backup.storage.memory import MemoryDriver
from magnetodb_backup.storage.retrying import Retrying
from magnetodb_backup.storage.swift import SwiftDriver
from magnetodb_backup.storage.throttling import Throttled
from tests.lab.emulator.faults import ROUGH
from tests.lab.emulator.store import EmulatedStore
from tests.unit.storage.configured import swift_driver

BODY = secrets.token_bytes(700_001)
KEYSTONE: dict[str, object] = {
    "auth_type": "password",
    "username": "demo",
    "password": "demopass",
    "project_name": "demo",
    "user_domain_id": "default",
    "project_domain_id": "default",
    "region_name": "RegionOne",
}
KINDS = ["memory", "filesystem", "keystone", "v1", "retrying", "throttled", "emulated"]
# Listings that lag are not among the promises; pieces are as long as the drivers promise.
FAULTS = replace(ROUGH, seed=11, cut_after=(0, 64 * 1024, 5 * 64 * 1024))
Make = Callable[..., SwiftDriver]


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def put(driver: StorageDriver, container: str, name: str, body: bytes = BODY) -> None:
    driver.put(container, name, body, size=len(body), md5=md5(body))


def get(driver: StorageDriver, container: str, name: str, **part: int) -> bytes:
    return b"".join(driver.read(container, name, **part))


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[SwiftDriver] = []

    def make(**values: object) -> SwiftDriver:
        keystone = request.getfixturevalue("keystone")
        request.getfixturevalue("swift")
        made.append(swift_driver(KEYSTONE | {"auth_url": keystone.auth_url} | values))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def v1(request: pytest.FixtureRequest) -> dict[str, object]:
    swift = request.getfixturevalue("swift")
    return {
        "auth_type": "v1password",
        "auth_url": swift.auth_v1_url,
        "username": "test:tester",
        "password": "testing",
    }


@pytest.fixture(params=KINDS)
def driver(request: pytest.FixtureRequest, tmp_path: Path, make: Make) -> Iterator[StorageDriver]:
    kind = request.param
    if kind == "memory":
        yield MemoryDriver()
    elif kind == "filesystem":
        yield FilesystemDriver(tmp_path)
    elif kind == "keystone":
        yield make()
    elif kind == "v1":
        driver = swift_driver(request.getfixturevalue("v1"))
        yield driver
        driver.close()
    elif kind == "retrying":
        yield Retrying(MemoryDriver(), deadline=0.1)
    elif kind == "emulated":
        store = EmulatedStore(MemoryDriver(), faults=FAULTS)
        clock = store.clock
        yield Retrying(store, deadline=600, clock=clock.now, sleep=clock.sleep)
    else:
        yield Throttled(FilesystemDriver(tmp_path), lambda: 50_000_000)


@pytest.fixture
def container(driver: StorageDriver) -> str:
    name = f"contract.{secrets.token_hex(4)}"
    driver.ensure_container(name)
    return name


@pytest.mark.parametrize("form", [bytes, memoryview, io.BytesIO])
def test_what_was_put_is_read(
    driver: StorageDriver, container: str, form: Callable[[bytes], Any]
) -> None:
    body = form(BODY)
    if isinstance(body, io.BytesIO):
        body.seek(5)
    driver.put(container, "packs/ab/one", body, size=len(BODY), md5=md5(BODY))
    chunks = list(driver.read(container, "packs/ab/one"))
    assert b"".join(chunks) == BODY
    assert all(isinstance(chunk, bytes) and len(chunk) >= 64 * 1024 for chunk in chunks[:-1])
    info = driver.head(container, "packs/ab/one")
    assert info is not None
    assert (info.name, info.size, info.md5) == ("packs/ab/one", len(BODY), md5(BODY))


def test_put_again_replaces(driver: StorageDriver, container: str) -> None:
    put(driver, container, "o", b"first")
    put(driver, container, "o", b"the second one")
    assert get(driver, container, "o") == b"the second one"
    assert [info.md5 for info in driver.list(container)] == [md5(b"the second one")]


def test_parts(driver: StorageDriver, container: str) -> None:
    put(driver, container, "o")
    assert get(driver, container, "o", offset=100, length=300_000) == BODY[100:300_100]
    assert get(driver, container, "o", offset=699_999) == BODY[699_999:]
    assert get(driver, container, "o", length=1) == BODY[:1]
    assert get(driver, container, "o", offset=7, length=0) == b""
    assert get(driver, container, "o", offset=len(BODY)) == b""


def test_bodies_that_are_read_in_turn_do_not_mix(driver: StorageDriver, container: str) -> None:
    bodies = {f"o{number}": secrets.token_bytes(2_000_000) for number in range(4)}
    for name, body in bodies.items():
        put(driver, container, name, body)
    reads = {name: driver.read(container, name) for name in bodies}
    found = {name: next(read) for name, read in reads.items()}
    for name, read in reads.items():
        found[name] += b"".join(read)
    assert found == bodies


@pytest.mark.parametrize("part", [{"offset": 700_000, "length": 2}, {"offset": 800_000}])
def test_part_that_is_not_there(
    driver: StorageDriver, container: str, part: dict[str, int]
) -> None:
    """It is not asked for again: what is stored is shorter, however often it is read."""
    put(driver, container, "o")
    waited: list[float] = []
    with pytest.raises(ObjectTooShort):
        get(Retrying(driver, deadline=60, sleep=waited.append), container, "o", **part)
    assert waited == []


def test_empty_object(driver: StorageDriver, container: str) -> None:
    put(driver, container, "empty", b"")
    assert get(driver, container, "empty") == b""
    assert [info.size for info in driver.list(container)] == [0]


def test_wrong_md5_stores_nothing(driver: StorageDriver, container: str) -> None:
    put(driver, container, "kept", b"old")
    for name in ("kept", "new"):
        with pytest.raises(IncompleteBody):
            driver.put(container, name, b"other", size=5, md5=md5(b"what it should be"))
    assert get(driver, container, "kept") == b"old"
    assert driver.head(container, "new") is None


def test_wrong_size_stores_nothing(driver: StorageDriver, container: str) -> None:
    with pytest.raises(InvalidValue, match="5 bytes, not 6"):
        driver.put(container, "o", b"short", size=6, md5=md5(b"short"))
    with pytest.raises(IncompleteBody, match="5 of 6 bytes"):
        driver.put(container, "o", io.BytesIO(b"short"), size=6, md5=md5(b"short"))
    assert driver.head(container, "o") is None


def test_missing_things(driver: StorageDriver, container: str) -> None:
    with pytest.raises(NotFound, match="nothing"):
        get(driver, container, "nothing")
    with pytest.raises(NotFound, match="nothing"):
        get(driver, container, "nothing", length=0)
    with pytest.raises(NotFound, match="nowhere"):
        put(driver, "contract.nowhere", "o")
    assert driver.head(container, "nothing") is None
    assert driver.head("contract.nowhere", "o") is None
    assert list(driver.list("contract.nowhere")) == []


def test_listing_by_prefix_in_order(driver: StorageDriver, container: str) -> None:
    names = ["a-b", "a/b-c", "a/b/c", "a/bc", "a0", "b", "ä%2F"]
    for name in reversed(names):
        put(driver, container, name, name.encode())
    found = list(driver.list(container))
    assert [info.name for info in found] == names
    assert [info.md5 for info in found] == [md5(name.encode()) for name in names]
    assert [i.name for i in driver.list(container, "a/b")] == ["a/b-c", "a/b/c", "a/bc"]
    assert [i.name for i in driver.list(container, "a/b/")] == ["a/b/c"]


def test_folders_below_a_prefix_in_order(driver: StorageDriver, container: str) -> None:
    for name in ["a", "b-/x", "b/a/1", "b/a/2", "b/c", "b/d/e/f", "b/da/x", "c/x"]:
        put(driver, container, name, b"")
    assert list(driver.folders(container, "b/")) == ["b/a/", "b/d/", "b/da/"]
    assert list(driver.folders(container, "b")) == ["b-/", "b/"]
    assert list(driver.folders(container, "")) == ["b-/", "b/", "c/"]
    assert list(driver.folders(container, "d/")) == []
    assert list(driver.folders("contract.nowhere", "")) == []


def test_what_was_last_stored_is_read(driver: StorageDriver, container: str) -> None:
    put(driver, container, "o", b"first")
    put(driver, container, "o")
    assert b"".join(driver.read_newest(container, "o")) == BODY
    assert b"".join(driver.read_newest(container, "o", offset=700_000)) == BODY[700_000:]
    with pytest.raises(NotFound, match="nothing"):
        list(driver.read_newest(container, "nothing"))


def test_deleting(driver: StorageDriver, container: str) -> None:
    put(driver, container, "x/y", b"1")
    put(driver, container, "x/z", b"2")
    driver.delete(container, "x/y")
    driver.delete(container, "x/y")
    driver.delete("contract.nowhere", "x")
    assert driver.head(container, "x/y") is None
    assert get(driver, container, "x/z") == b"2"


def test_deleting_an_empty_container(driver: StorageDriver, container: str) -> None:
    put(driver, container, "packs/ab/o", b"1")
    with pytest.raises(Conflict, match="has objects"):
        driver.delete_container(container)
    assert get(driver, container, "packs/ab/o") == b"1"
    driver.delete(container, "packs/ab/o")
    driver.delete_container(container)
    assert container not in set(driver.containers(container))
    driver.delete_container(container)
    with pytest.raises(NotFound):
        put(driver, container, "o", b"1")
    driver.ensure_container(container)
    assert list(driver.list(container)) == []
    put(driver, container, "o", b"2")
    assert get(driver, container, "o") == b"2"


def test_deleting_a_container_leaves_those_with_longer_names(
    driver: StorageDriver, container: str
) -> None:
    others = [f"{container}.1", f"{container}1"]
    for other in others:
        driver.ensure_container(other)
        put(driver, other, "o", b"1")
    driver.delete_container(container)
    assert list(driver.containers(container)) == others


def test_container_made_twice_keeps_its_objects(driver: StorageDriver, container: str) -> None:
    put(driver, container, "o", b"1")
    driver.ensure_container(container)
    assert get(driver, container, "o") == b"1"


def test_containers_by_prefix_in_order(driver: StorageDriver) -> None:
    prefix = f"contract-{secrets.token_hex(4)}"
    names = [f"{prefix}.{rest}" for rest in ("A", "a", "a%20b", "a%2Eb", "a.b", "b")]
    for name in [f"{prefix}-other", f"other.{prefix}.a", *reversed(names)]:
        driver.ensure_container(name)
    put(driver, names[1], f"{prefix}.object/o")
    assert list(driver.containers(f"{prefix}.")) == names
    assert list(driver.containers(names[1])) == names[1:5]
    assert list(driver.containers(f"{prefix}.nothing")) == []
    assert set(names) < set(driver.containers(""))


def test_many_threads(driver: StorageDriver, container: str) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            body = BODY[number : number + 100_000]
            put(driver, container, f"t/{number}", body)
            assert get(driver, container, f"t/{number}") == body
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(i.name for i in driver.list(container)) == [f"t/{n}" for n in range(8)]


# Swift and Keystone themselves, through a proxy that injects faults


@pytest.fixture
def proxied(make: Make, swift_proxy: Any) -> SwiftDriver:
    driver = make(region_name="ProxyRegion", connect_timeout=2.0, read_timeout=10.0)
    driver.ensure_container("contract.faults")
    return driver


def patient(driver: SwiftDriver) -> Retrying:
    return Retrying(driver, deadline=30)


def test_overload_passes(proxied: SwiftDriver, swift_proxy: Any) -> None:
    swift_proxy.fail(method="PUT", path_contains="/overload", status=503, times=2)
    with pytest.raises(StorageUnavailable, match="503"):
        put(proxied, "contract.faults", "overload")
    put(patient(proxied), "contract.faults", "overload")
    assert get(proxied, "contract.faults", "overload") == BODY
    assert swift_proxy.count(method="PUT", path_contains="/overload") == 3


def test_cut_answer_is_resumed(proxied: SwiftDriver, swift_proxy: Any) -> None:
    put(proxied, "contract.faults", "cut")
    swift_proxy.cut_response(method="GET", path_contains="/cut", after_bytes=300_000, times=2)
    with pytest.raises((IncompleteBody, StorageUnavailable)):
        get(proxied, "contract.faults", "cut")
    assert get(patient(proxied), "contract.faults", "cut") == BODY


def test_cut_request_is_sent_again(proxied: SwiftDriver, swift_proxy: Any) -> None:
    swift_proxy.cut_request(method="PUT", path_contains="/cutput", times=1)
    with pytest.raises(StorageUnavailable):
        put(proxied, "contract.faults", "cutput")
    assert proxied.head("contract.faults", "cutput") is None
    put(patient(proxied), "contract.faults", "cutput")
    assert get(proxied, "contract.faults", "cutput") == BODY


def test_body_changed_on_the_way(proxied: SwiftDriver, swift_proxy: Any) -> None:
    swift_proxy.corrupt(method="PUT", path_contains="/flipped", times=2)
    with pytest.raises(IncompleteBody):
        put(proxied, "contract.faults", "flipped")
    assert proxied.head("contract.faults", "flipped") is None
    put(patient(proxied), "contract.faults", "flipped")
    assert get(proxied, "contract.faults", "flipped") == BODY


def test_full_store(proxied: SwiftDriver, swift_proxy: Any) -> None:
    swift_proxy.fail(method="PUT", path_contains="/full", status=507, times=1)
    with pytest.raises(NoSpace, match="full"):
        put(patient(proxied), "contract.faults", "full")


def test_silence(make: Make, swift_proxy: Any) -> None:
    driver = make(region_name="ProxyRegion", read_timeout=3.0)
    driver.ensure_container("contract.faults")
    swift_proxy.hang(method="PUT", path_contains="/silent")
    started = time.monotonic()
    with pytest.raises(StorageUnavailable, match="in time"):
        put(driver, "contract.faults", "silent", b"x")
    assert time.monotonic() - started < 10


def test_token_that_is_refused(proxied: SwiftDriver, swift_proxy: Any) -> None:
    swift_proxy.fail(method="PUT", path_contains="/expired", status=401, times=1)
    put(proxied, "contract.faults", "expired")
    assert get(proxied, "contract.faults", "expired") == BODY
    assert swift_proxy.count(method="PUT", path_contains="/expired") == 2


def test_refusals_name_the_identity(make: Make, v1: dict[str, object]) -> None:
    with pytest.raises(AccessDenied, match="'demo'") as caught:
        make(password="not-the-password").head("contract.faults", "o")
    assert "not-the-password" not in str(caught.value)
    other = swift_driver(v1 | {"password": "not-the-password"})
    with pytest.raises(AccessDenied, match="test:tester") as caught:
        other.head("contract.faults", "o")
    assert "not-the-password" not in str(caught.value)
    with pytest.raises(AccessDenied, match="nobody"):
        make(username="nobody", password="nobodypass").head("contract.faults", "o")


def test_unknown_region_is_named(make: Make) -> None:
    with pytest.raises(AccessDenied, match="Atlantis"):
        make(region_name="Atlantis").head("contract.faults", "o")
