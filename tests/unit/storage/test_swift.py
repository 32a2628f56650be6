# SPDX-License-Identifier: Apache-2.0
"""The Swift driver against a store that misbehaves."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate

import pytest

from magnetodb_backup.errors import (
    AccessDenied,
    Conflict,
    IncompleteBody,
    InvalidValue,
    NoSpace,
    NotFound,
    StorageRefused,
    StorageUnavailable,
)
from magnetodb_backup.storage.retrying import Retrying
from magnetodb_backup.storage.swift import SwiftDriver
from tests.unit.storage.configured import swift_driver
from tests.unit.storage.fake_swift import PASSWORD, FakeSwift, Fault, fake_swift

BODY = bytes(range(256)) * 3000
MD5 = hashlib.md5(BODY).hexdigest()
Make = Callable[..., SwiftDriver]


@pytest.fixture
def store() -> Iterator[FakeSwift]:
    with fake_swift() as store:
        yield store


@pytest.fixture
def make(store: FakeSwift) -> Iterator[Make]:
    made: list[SwiftDriver] = []

    def make(**overrides: object) -> SwiftDriver:
        values: dict[str, object] = {
            "auth_type": "v1password",
            "auth_url": store.auth_url,
            "username": "test:tester",
            "password": PASSWORD,
            "connect_timeout": 2.0,
            "read_timeout": 5.0,
        }
        made.append(swift_driver(values | overrides))
        return made[-1]

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def driver(make: Make) -> SwiftDriver:
    driver = make()
    driver.ensure_container("c")
    return driver


def _put(driver: SwiftDriver | Retrying, name: str = "o") -> None:
    driver.put("c", name, BODY, size=len(BODY), md5=MD5)


def test_connection_is_kept_over_requests_and_whole_reads(
    driver: SwiftDriver, store: FakeSwift
) -> None:
    before = store.connections
    for number in range(5):
        _put(driver, f"o{number}")
        assert b"".join(driver.read("c", f"o{number}")) == BODY
        assert driver.head("c", f"o{number}") is not None
    assert store.connections == before
    assert store.count("PUT") == 6


def test_bodies_that_are_read_in_turn_do_not_mix(driver: SwiftDriver) -> None:
    """A connection is not lent again before the body that it brings is at its end."""
    bodies = {name: bytes([number]) * len(BODY) for number, name in enumerate("abcdef")}
    for name, body in bodies.items():
        driver.put("c", name, body, size=len(body), md5=hashlib.md5(body).hexdigest())
    reads = {name: driver.read("c", name) for name in bodies}
    found = {name: next(read) for name, read in reads.items()}
    assert driver.head("c", "a") is not None
    for name in bodies:
        found[name] += b"".join(reads[name])
    assert found == bodies


def test_connection_of_an_abandoned_read_is_of_use_again(driver: SwiftDriver) -> None:
    _put(driver)
    for _ in range(3):
        read = driver.read("c", "o")
        next(read)
        read.close()  # type: ignore[attr-defined]
    assert b"".join(driver.read("c", "o")) == BODY


def test_memoryview_and_file_arrive_whole(driver: SwiftDriver, store: FakeSwift) -> None:
    driver.put("c", "view", memoryview(BODY), size=len(BODY), md5=MD5)
    file = io.BytesIO(BODY)
    file.seek(77)
    driver.put("c", "file", file, size=len(BODY), md5=MD5)
    assert store.containers["c"] == {"view": BODY, "file": BODY}


@pytest.mark.parametrize("body", [BODY, io.BytesIO(BODY)])
def test_refused_token_is_renewed_and_the_body_sent_again(
    driver: SwiftDriver, store: FakeSwift, body: bytes | io.BytesIO
) -> None:
    store.expire_token()
    driver.put("c", "o", body, size=len(BODY), md5=MD5)
    assert store.containers["c"]["o"] == BODY


def test_token_refused_twice_is_access_denied_without_secret(
    driver: SwiftDriver, store: FakeSwift
) -> None:
    store.faults.append(Fault("PUT", status=401, times=2))
    with pytest.raises(AccessDenied, match="test:tester") as caught:
        _put(driver)
    assert PASSWORD not in str(caught.value)
    assert "storing c/o" in str(caught.value)


def test_wrong_password_names_user_and_not_the_secret(make: Make) -> None:
    with pytest.raises(AccessDenied, match="test:tester") as caught:
        make(password="a-wrong-secret").head("c", "o")
    assert "a-wrong-secret" not in str(caught.value)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_identity_service_in_trouble_is_transient(
    make: Make, store: FakeSwift, status: int
) -> None:
    store.identity_status = status
    with pytest.raises(StorageUnavailable, match="no token"):
        make().head("c", "o")


def test_identity_service_unreachable_is_transient(make: Make) -> None:
    with pytest.raises(StorageUnavailable, match="no token"):
        make(auth_url="http://127.0.0.1:9/auth/v1.0").head("c", "o")


@pytest.mark.parametrize("status", [408, 429, 498, 500, 502, 503, 504])
def test_passing_statuses(driver: SwiftDriver, store: FakeSwift, status: int) -> None:
    store.faults.append(Fault("PUT", status=status))
    with pytest.raises(StorageUnavailable, match=f"storing c/o .*{status}"):
        _put(driver)
    _put(driver)


@pytest.mark.parametrize(
    ("asked", "waits"),
    [("7", (7, 8)), ("7200", (120, 121)), ("soon", (0, 1)), ("", (0, 1)), ("date", (50, 60))],
)
def test_a_store_that_asks_to_wait_is_asked_later(
    driver: SwiftDriver, store: FakeSwift, asked: str, waits: tuple[float, float]
) -> None:
    """Up to two minutes; what is no time is ignored."""
    if asked == "date":
        asked = formatdate(time.time() + 60, usegmt=True)
    store.faults.append(Fault("PUT", status=503, retry_after=asked))
    slept: list[float] = []
    _put(Retrying(driver, deadline=1000, sleep=slept.append))
    (wait,) = slept
    assert waits[0] <= wait <= waits[1]


def test_a_wait_ends_with_the_deadline(driver: SwiftDriver, store: FakeSwift) -> None:
    store.faults.append(Fault("PUT", status=503, retry_after="100"))
    slept: list[float] = []
    _put(Retrying(driver, deadline=5, sleep=slept.append))
    assert 0 < slept[0] <= 5


@pytest.mark.parametrize("status", [413, 507])
def test_no_room(driver: SwiftDriver, store: FakeSwift, status: int) -> None:
    store.faults.append(Fault("PUT", status=status))
    with pytest.raises(NoSpace, match="told to fail"):
        _put(driver)


def test_forbidden_and_odd_statuses(driver: SwiftDriver, store: FakeSwift) -> None:
    store.faults += [Fault("PUT", status=403), Fault("PUT", status=412)]
    with pytest.raises(AccessDenied, match="c/o"):
        _put(driver)
    with pytest.raises(StorageRefused, match="412"):
        _put(driver)


def test_missing_container_is_named(driver: SwiftDriver) -> None:
    with pytest.raises(NotFound, match=r"nowhere/o.*create the container"):
        driver.put("nowhere", "o", BODY, size=len(BODY), md5=MD5)


def test_corrupt_body_is_refused_and_retried(driver: SwiftDriver, store: FakeSwift) -> None:
    store.faults.append(Fault("PUT", deed="corrupt", times=2))
    with pytest.raises(IncompleteBody):
        _put(driver)
    assert driver.head("c", "o") is None
    _put(Retrying(driver, deadline=10, sleep=lambda _: None))
    assert store.containers["c"]["o"] == BODY


def test_answered_md5_is_compared_and_a_wrong_object_removed(
    driver: SwiftDriver, store: FakeSwift
) -> None:
    store.faults.append(Fault("PUT", deed="lie"))
    with pytest.raises(IncompleteBody, match="00000000"):
        _put(driver)
    assert store.containers["c"] == {}


def test_cut_body_is_incomplete_and_resumed(driver: SwiftDriver, store: FakeSwift) -> None:
    _put(driver)
    store.faults.append(Fault("GET", deed="cut", times=3))
    with pytest.raises(IncompleteBody, match="reading c/o"):
        list(driver.read("c", "o"))
    retrying = Retrying(driver, deadline=10, sleep=lambda _: None)
    assert b"".join(retrying.read("c", "o")) == BODY


def test_ignored_range_is_noticed(driver: SwiftDriver, store: FakeSwift) -> None:
    _put(driver)
    store.faults.append(Fault("GET", deed="ignore-range"))
    with pytest.raises(StorageRefused, match="ignores ranges"):
        list(driver.read("c", "o", offset=10, length=5))


def test_silence_is_a_time_out(make: Make, store: FakeSwift) -> None:
    driver = make(read_timeout=0.3)
    driver.ensure_container("c")
    store.faults.append(Fault("PUT", deed="hang"))
    with pytest.raises(StorageUnavailable, match="in time"):
        _put(driver)
    assert store.count("HEAD") == 0


def test_broken_connection_is_transient_and_finds_a_refused_token(
    driver: SwiftDriver, store: FakeSwift
) -> None:
    store.faults.append(Fault("PUT", deed="drop"))
    store.expire_token()
    with pytest.raises(StorageUnavailable, match="failed"):
        _put(driver)
    refused = store.count("PUT")
    _put(driver)
    assert store.count("PUT") == refused + 1  # the token was renewed before


def test_threads_share_one_renewal(driver: SwiftDriver, store: FakeSwift) -> None:
    store.expire_token()
    before = sum(1 for _, path in store.requests if path.startswith("/auth"))
    threads = [threading.Thread(target=_put, args=(driver, f"o{n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(store.containers["c"]) == [f"o{n}" for n in range(8)]
    assert sum(1 for _, path in store.requests if path.startswith("/auth")) == before + 1


def test_listing_goes_over_all_pages(driver: SwiftDriver, store: FakeSwift) -> None:
    store.containers["c"] = {f"p/{n:02}": b"x" * n for n in range(10)} | {"q": b""}
    found = list(driver.list("c", "p/"))
    assert [(info.name, info.size) for info in found] == [(f"p/{n:02}", n) for n in range(10)]


def test_containers_are_listed_over_all_pages(driver: SwiftDriver, store: FakeSwift) -> None:
    names = [f"pre.cluster%20{number}" for number in range(10)]
    store.containers |= {name: {} for name in ["pre", "prefix.x", *reversed(names)]}
    assert list(driver.containers("pre.")) == names
    assert store.count("GET") == 6  # three names a page, and the token


@pytest.mark.parametrize(
    ("status", "error"), [(403, AccessDenied), (503, StorageUnavailable), (400, StorageRefused)]
)
def test_containers_that_cannot_be_listed_are_no_empty_store(
    driver: SwiftDriver, store: FakeSwift, status: int, error: type[Exception]
) -> None:
    store.faults.append(Fault("GET", status=status))
    with pytest.raises(error, match=rf"listing containers pre\.\* .*{status}"):
        list(driver.containers("pre."))


def test_an_account_that_was_never_used_has_no_containers(
    driver: SwiftDriver, store: FakeSwift
) -> None:
    store.faults.append(Fault("GET", status=404))
    assert list(driver.containers("pre.")) == []


def test_wrong_options_are_named(make: Make) -> None:
    with pytest.raises(InvalidValue, match="auth_url"):
        make(auth_url=None)


@pytest.mark.parametrize("name", ["", "..", "../other/o", "a/../../other/o", "a/./b"])
def test_names_cannot_leave_the_container(driver: SwiftDriver, store: FakeSwift, name: str) -> None:
    asked = len(store.requests)
    with pytest.raises(InvalidValue, match="cannot name an object"):
        _put(driver, name)
    with pytest.raises(InvalidValue, match="cannot name an object"):
        list(driver.read("c", name))
    with pytest.raises(InvalidValue, match="cannot name an object"):
        driver.head("c", name)
    with pytest.raises(InvalidValue, match="cannot name an object"):
        driver.delete("c", name)
    assert len(store.requests) == asked


def test_the_newest_copy_of_an_object_that_was_stored_again(
    driver: SwiftDriver, store: FakeSwift
) -> None:
    """Finding 21: another copy still had a manifest's older bytes."""
    _put(driver)
    store.stale["c", "o"] = b"of an earlier attempt"
    assert b"".join(driver.read("c", "o")) == b"of an earlier attempt"
    assert b"".join(driver.read_newest("c", "o")) == BODY
    assert b"".join(driver.read_newest("c", "o", offset=700)) == BODY[700:]


def test_folders_are_listed_without_the_objects_in_them(
    driver: SwiftDriver, store: FakeSwift
) -> None:
    """Finding 17: a listing of all names grows with backups times nodes."""
    for folder in range(5):
        for number in range(20):
            store.containers["c"][f"backups/b{folder}/nodes/{number}"] = b""
    store.containers["c"]["backups/object"] = b""
    before = store.count("GET")
    assert list(driver.folders("c", "backups/")) == [f"backups/b{n}/" for n in range(5)]
    assert store.count("GET") - before == 3  # pages of three names


def test_only_an_empty_container_is_deleted(driver: SwiftDriver, store: FakeSwift) -> None:
    """409 says that it has objects; elsewhere it is a reason to try again."""
    store.containers["c"] = {"o": b"x"}
    with pytest.raises(Conflict, match="container 'c' has objects"):
        driver.delete_container("c")
    store.faults.append(Fault("DELETE", status=503))
    del store.containers["c"]["o"]
    with pytest.raises(StorageUnavailable):
        driver.delete_container("c")
    driver.delete_container("c")
    assert "c" not in store.containers
    driver.delete_container("c")


@pytest.mark.parametrize(
    ("header", "quota"), [({}, None), ({"X_Account_Meta_Quota_Bytes": "5000"}, 5000)]
)
def test_quota_of_the_account(
    driver: SwiftDriver, store: FakeSwift, header: dict[str, str], quota: int | None
) -> None:
    store.account = header
    assert driver.quota() == quota
    store.faults.append(Fault("HEAD", status=503))
    with pytest.raises(StorageUnavailable):
        driver.quota()


def test_quota_that_is_no_number(driver: SwiftDriver, store: FakeSwift) -> None:
    store.account = {"X_Account_Meta_Quota_Bytes": "unlimited"}
    assert driver.quota() is None
