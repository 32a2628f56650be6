# SPDX-License-Identifier: Apache-2.0
"""The emulated store misbehaves as Swift does, by its own clock, and the same way each time."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace

import pytest

from magnetodb_backup.errors import AccessDenied, IncompleteBody, NotFound, StorageUnavailable
from magnetodb_backup.storage.driver import ObjectInfo, StorageDriver
from magnetodb_backup.storage.memory import MemoryDriver
from magnetodb_backup.storage.retrying import Retrying
from tests.lab.emulator.faults import CALM, ROUGH, Faults, Kind, Rule
from tests.lab.emulator.store import EmulatedStore, Killed

C = "container"


@pytest.fixture
def store() -> EmulatedStore:
    store = EmulatedStore(MemoryDriver())
    store.ensure_container(C)
    return store


def put(driver: StorageDriver, name: str, body: bytes = b"content") -> None:
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    driver.put(C, name, body, size=len(body), md5=md5)


def get(driver: StorageDriver, name: str) -> bytes:
    return b"".join(driver.read(C, name))


def listed(driver: StorageDriver, prefix: str = "") -> list[str]:
    return [info.name for info in driver.list(C, prefix)]


def patient(store: EmulatedStore, deadline: float = 600) -> Retrying:
    return Retrying(store, deadline=deadline, clock=store.clock.now, sleep=store.clock.sleep)


# Listings.


def test_listing_shows_a_change_later(store: EmulatedStore) -> None:
    put(store, "old")
    store.faults = Faults(lag=100.0)
    put(store, "new")
    store.delete(C, "old")
    assert listed(store) == ["old"]
    assert store.head(C, "old") is None
    assert get(store, "new") == b"content"
    with pytest.raises(NotFound):
        get(store, "old")
    store.clock.sleep(100)
    assert listed(store) == ["new"]


def test_listing_shows_the_former_size_of_a_replaced_object(store: EmulatedStore) -> None:
    put(store, "o", b"first")
    store.faults = Faults(lag=100.0)
    put(store, "o", b"the second one")
    put(store, "o", b"the third and longest one")
    assert [info.size for info in store.list(C)] == [5]
    assert list(store.folders(C, "")) == []
    store.clock.sleep(200)
    assert [info.size for info in store.list(C)] == [25]


def test_container_is_listed_later(store: EmulatedStore) -> None:
    store.faults = Faults(lag=100.0)
    store.ensure_container("late")
    put(store, "o")
    assert list(store.containers("")) == [C]
    store.clock.sleep(100)
    assert list(store.containers("")) == [C, "late"]
    store.delete_container("late")
    assert list(store.containers("")) == [C, "late"]
    store.clock.sleep(100)
    assert list(store.containers("")) == [C]


def test_ghost_is_listed_for_good_until_it_is_stored_again(store: EmulatedStore) -> None:
    put(store, "a/lost")
    store.lose(C, "a/lost", listed=True)
    store.haunt(C, ObjectInfo("a/never", 7, ""))
    store.clock.sleep(1e9)
    store.delete(C, "a/lost")
    assert listed(store, "a/") == ["a/lost", "a/never"]
    assert listed(store, "b") == []
    assert store.head(C, "a/lost") is None
    with pytest.raises(NotFound):
        get(store, "a/never")
    put(store, "a/lost")
    store.delete(C, "a/lost")
    assert listed(store) == ["a/never"]


# Requests that fail.


@pytest.mark.parametrize("status", [498, 503])
def test_storm_passes_after_the_time_that_the_store_asks_for(
    store: EmulatedStore, status: int
) -> None:
    put(store, "o")
    store.storm(100, status=status, retry_after=90)
    with pytest.raises(StorageUnavailable, match=str(status)) as caught:
        store.head(C, "o")
    assert caught.value.retry_after == 90
    before = store.count(method="HEAD")
    assert patient(store).head(C, "o") is not None
    assert store.clock.now() >= 100
    assert store.count(method="HEAD") - before <= 10


def test_storm_that_outlasts_the_deadline(store: EmulatedStore) -> None:
    store.storm(1000)
    with pytest.raises(StorageUnavailable, match=r"tried \d+ times in 300 s"):
        patient(store, 300).head(C, "o")
    assert store.clock.now() == pytest.approx(300)


def test_scripted_answers(store: EmulatedStore) -> None:
    put(store, "packs/a")
    store.add(Rule(Kind.FAIL, "GET", "packs/", times=2, status=503))
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            get(store, "packs/a")
    assert get(store, "packs/a") == b"content"
    store.add(Rule(Kind.FAIL, status=403))
    with pytest.raises(AccessDenied):
        store.head(C, "packs/a")
    store.clear()
    assert store.head(C, "packs/a") is not None


def test_bodies_that_are_cut(store: EmulatedStore) -> None:
    store.add(Rule(Kind.CUT_REQUEST, times=1))
    body = io.BytesIO(b"content")
    md5 = hashlib.md5(b"content", usedforsecurity=False).hexdigest()
    with pytest.raises(StorageUnavailable, match="after 3 bytes"):
        store.put(C, "o", body, size=7, md5=md5)
    assert store.head(C, "o") is None
    assert body.tell() == 3
    store.put(C, "o", body, size=7, md5=md5)
    store.add(Rule(Kind.CUT_ANSWER, "GET", times=2, after=4))
    read: Iterator[bytes] = store.read(C, "o")
    assert next(read) == b"cont"
    with pytest.raises(IncompleteBody, match="after 4 bytes"):
        next(read)
    assert get(patient(store), "o") == b"content"


def test_listing_that_is_cut_is_resumed(store: EmulatedStore) -> None:
    for name in "abc":
        put(store, name)
    store.add(Rule(Kind.CUT_ANSWER, "LIST", times=2, after=2))
    with pytest.raises(StorageUnavailable):
        listed(store)
    assert listed(patient(store)) == ["a", "b", "c"]


def test_answer_that_is_lost(store: EmulatedStore) -> None:
    store.add(Rule(Kind.LOSE_ANSWER, "PUT", times=1))
    with pytest.raises(StorageUnavailable):
        put(store, "o")
    assert get(store, "o") == b"content"
    store.add(Rule(Kind.LOSE_ANSWER, "DELETE", times=1))
    patient(store).delete(C, "o")
    assert store.head(C, "o") is None


def test_token_that_expires(store: EmulatedStore) -> None:
    """It is renewed; a PUT finds its connection cut, and succeeds when it is repeated."""
    store.faults = Faults(token_lifetime=60.0)
    put(store, "o")
    store.clock.sleep(61)
    assert store.head(C, "o") is not None
    assert store.renewals == 1
    store.clock.sleep(61)
    with pytest.raises(StorageUnavailable, match="token"):
        put(store, "p")
    put(store, "p")
    assert store.renewals == 2
    store.clock.sleep(61)
    store.can_renew = False
    with pytest.raises(AccessDenied, match="401"):
        store.head(C, "o")


def test_requests_take_time(store: EmulatedStore) -> None:
    store.faults = Faults(latency=2.0)
    for number in range(100):
        store.head(C, str(number))
    assert 50 < store.clock.now() < 150


# A user that is killed, and a second one.


@pytest.mark.parametrize("stored", [False, True])
def test_user_that_is_killed_at_a_write(store: EmulatedStore, stored: bool) -> None:
    store.kill_at(1, stored=stored)
    put(store, "a")
    store.head(C, "a")
    with pytest.raises(Killed):
        put(store, "b")
    for request in (lambda: put(store, "c"), lambda: store.head(C, "a"), lambda: listed(store)):
        with pytest.raises(Killed):
            request()
    assert store.revive()
    assert listed(store) == (["a", "b"] if stored else ["a"])
    assert not store.revive()


def test_another_user_between_two_requests(store: EmulatedStore) -> None:
    put(store, "o")

    def remove(method: str, container: str, name: str) -> None:
        if method == "GET":
            store.on_request = lambda *_: None
            store.delete(C, "o")

    store.on_request = remove
    assert store.head(C, "o") is not None
    with pytest.raises(NotFound):
        get(store, "o")


def test_object_that_is_changed(store: EmulatedStore) -> None:
    put(store, "o")
    store.change(C, "o", bytes.upper)
    assert get(store, "o") == b"CONTENT"


# Seeds.


def _history(seed: int, names: list[str]) -> dict[str, str]:
    store = EmulatedStore(MemoryDriver(), faults=replace(ROUGH, storms=0.0, seed=seed))
    store.driver.ensure_container(C)
    found = {}
    for name in names:
        try:
            put(store, name)
            found[name] = "stored"
        except StorageUnavailable as error:
            found[name] = str(error)
    return found


def test_faults_depend_on_the_seed_and_not_on_the_order() -> None:
    names = [str(n) for n in range(60)]
    assert _history(1, names) == _history(1, names[::-1])
    assert _history(1, names) != _history(2, names)
    assert len(set(_history(1, names).values()) - {"stored"}) > 10


def test_no_faults_by_default() -> None:
    assert all(CALM.rules("PUT", str(n), 0) == [] for n in range(1000))


def test_a_patient_user_notices_nothing() -> None:
    store = EmulatedStore(MemoryDriver(), faults=replace(ROUGH, seed=5))
    driver = patient(store)
    driver.ensure_container(C)
    bodies = {f"{n:03d}": bytes([n]) * 1000 * n for n in range(50)}
    for name, body in bodies.items():
        put(driver, name, body)
    assert {name: get(driver, name) for name in bodies} == bodies
    assert listed(driver) == list(bodies)
    assert store.renewals > 0
    assert store.clock.now() > 60
