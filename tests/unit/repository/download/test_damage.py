# SPDX-License-Identifier: Apache-2.0
"""Packs that are missing, short or changed; cancelling; the end of the threads."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from magnetodb_backup.domain.backup.manifest import Extent
from magnetodb_backup.errors import (
    BackupError,
    Cancelled,
    CorruptObject,
    FormatProblem,
    IncompleteBody,
    StorageUnavailable,
)
from magnetodb_backup.repository.download.download import DownloadSettings
from magnetodb_backup.repository.download.ranges import SMALL
from magnetodb_backup.repository.format.manifests import NodeManifestReader
from tests.unit.repository.disk import HOST, PACK_SIZE, noise
from tests.unit.repository.stages import ONE_BY_ONE, Stage, manifest_of, threads_left

KIB = 1024
SETTINGS = pytest.mark.parametrize("settings", [ONE_BY_ONE, DownloadSettings()], ids=["1", "4"])
# What a file can be: one of many in a pack, one that is streamed, one of several packs.
SIZES = pytest.mark.parametrize(
    "size", [100, SMALL + 1, 3 * SMALL], ids=["small", "medium", "large"]
)


def _flipped(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


def _stored(stage: Stage, size: int) -> list[str]:
    """Store a file that is to be damaged, and some others; return its packs."""
    for number in range(5):
        stage.disk.write(f"a{number}", noise(number, PACK_SIZE))
    stage.disk.write("file", noise(99, size))
    stage.disk.upload(pack_size=SMALL + 2, readers=1)
    return [e.pack for e in stage.disk.entries()["file"].extents]


def _fails(stage: Stage, settings: DownloadSettings, error: type[BackupError]) -> str:
    with pytest.raises(error) as raised:
        stage.download(settings=settings)
    assert threads_left() == []
    assert not (stage.root / "file").exists()
    return str(raised.value)


@SIZES
@SETTINGS
def test_missing_pack(stage: Stage, size: int, settings: DownloadSettings) -> None:
    packs = _stored(stage, size)
    stage.disk.lose(packs[-1])
    told = _fails(stage, settings, CorruptObject)
    assert told.startswith(f"pack {packs[-1]} of node {HOST} is missing; it is needed for ks/t/")
    assert "restore from another backup" in told


@SIZES
@SETTINGS
def test_short_pack(stage: Stage, size: int, settings: DownloadSettings) -> None:
    packs = _stored(stage, size)
    stage.disk.damage(packs[-1], lambda body: body[:-1])
    told = _fails(stage, settings, CorruptObject)
    assert told.startswith(f"pack {packs[-1]} of node {HOST} is too short for ks/t/")


@SIZES
@SETTINGS
def test_changed_pack(stage: Stage, size: int, settings: DownloadSettings) -> None:
    packs = _stored(stage, size)
    stage.disk.damage(packs[-1], _flipped)
    told = _fails(stage, settings, CorruptObject)
    assert f"ks/t/file of node {HOST} has SHA-256 " in told
    assert f"its bytes come from pack {packs[-1]}; run magnetodb-backup-manage" in told


def test_only_the_changed_pack_is_named(stage: Stage) -> None:
    """Of a large file's many packs; each is proven by its name."""
    stage.disk.write("file", noise(1, 9 * PACK_SIZE))
    stage.disk.upload()
    packs = [e.pack for e in stage.disk.entries()["file"].extents]
    stage.disk.damage(packs[4], _flipped)
    told = _fails(stage, ONE_BY_ONE, CorruptObject)
    assert f"pack {packs[4]}; " in told
    assert not [p for p in packs if p != packs[4] and p in told]


def test_wrong_sha256_in_the_manifest(stage: Stage) -> None:
    """All packs are what their names say: the manifest is what lies."""
    stage.disk.write("file", noise(1, 5 * PACK_SIZE))
    stage.disk.upload()
    entry = stage.disk.entries()["file"]
    with pytest.raises(CorruptObject, match="and 2 more; run magnetodb-backup-manage"):
        stage.download_these([replace(entry, sha256="0" * 64)])
    assert threads_left() == []


def test_empty_file_with_the_sha256_of_another(stage: Stage) -> None:
    stage.disk.write("file", b"")
    stage.disk.upload()
    entry = stage.disk.entries()["file"]
    with pytest.raises(CorruptObject, match=r"ks/t/file of node .* is empty, but its SHA-256"):
        stage.download_these([replace(entry, sha256="0" * 64)])
    assert stage.contents() == {}


@SETTINGS
def test_body_that_is_cut_on_its_way(stage: Stage, settings: DownloadSettings) -> None:
    """The pack is whole: that is the store's passing trouble, and no reason to give up."""
    (pack,) = _stored(stage, SMALL + 1)

    def cut(name: str, chunk: bytes) -> bytes:
        if name == pack:
            raise IncompleteBody("the body ended after 0 bytes")
        return chunk

    stage.store.on_chunk = cut
    told = _fails(stage, settings, IncompleteBody)
    assert told == "the body ended after 0 bytes"
    stage.store.on_chunk = lambda name, chunk: chunk
    stage.download(settings=settings)
    assert stage.contents() == stage.disk.contents()


# A wrong digest is worth another look: bytes can change on their way.


@SIZES
@SETTINGS
def test_bytes_that_changed_on_their_way(
    stage: Stage, size: int, settings: DownloadSettings
) -> None:
    packs = _stored(stage, size)
    spoilt: list[str] = []
    lock = threading.Lock()

    def spoil(pack: str, chunk: bytes) -> bytes:
        with lock:
            if pack in spoilt or pack != packs[-1]:
                return chunk
            spoilt.append(pack)
        return _flipped(chunk)

    stage.store.on_chunk = spoil
    done = stage.download(settings=settings)
    assert spoilt
    assert stage.contents() == stage.disk.contents()
    assert done.bytes_done == done.bytes_total
    # The file again, nothing else.
    total = sum(stage.disk.repository.packs().values())
    assert total < done.bytes_downloaded <= total + max(size, PACK_SIZE)


def test_bytes_that_change_each_time(stage: Stage) -> None:
    """It is not tried for ever."""
    (pack,) = _stored(stage, SMALL + 1)
    stage.store.on_chunk = lambda name, chunk: _flipped(chunk) if name == pack else chunk
    _fails(stage, ONE_BY_ONE, CorruptObject)
    assert [name for name, *_ in stage.store.reads].count(pack) == 2


def test_damage_keeps_what_was_whole(stage: Stage) -> None:
    """After somebody mended the pack, only its file is fetched."""
    (pack,) = _stored(stage, SMALL + 1)
    stage.disk.damage(pack, _flipped)
    _fails(stage, ONE_BY_ONE, CorruptObject)
    stage.disk.damage(pack, _flipped)
    stage.store.bytes_read.clear()
    stage.download()
    assert stage.contents() == stage.disk.contents()
    assert set(stage.store.bytes_read) == {pack}


# Ends.


@SETTINGS
@pytest.mark.parametrize("error", [StorageUnavailable("away"), RuntimeError("a bug")])
def test_error_of_the_store_ends_all_threads(
    stage: Stage, settings: DownloadSettings, error: Exception
) -> None:
    """The first error is the one that is told."""
    for number in range(40):
        stage.disk.write(f"f{number}", noise(number, PACK_SIZE))
    stage.disk.upload()
    reads: list[str] = []

    def fail(pack: str, chunk: bytes) -> bytes:
        reads.append(pack)
        if len(reads) == 5:
            raise error
        if len(reads) > 5:
            threading.Event().wait(0.2)  # the others must not all be fetched before the end
        return chunk

    stage.store.on_chunk = fail
    with pytest.raises(type(error), match=str(error)):
        stage.download(settings=settings)
    assert threads_left() == []
    assert len(reads) < 40


@SETTINGS
def test_cancelling(stage: Stage, settings: DownloadSettings) -> None:
    for number in range(40):
        stage.disk.write(f"f{number}", noise(number, PACK_SIZE))
    stage.disk.upload()
    enough = threading.Event()

    def cancel(pack: str, chunk: bytes) -> bytes:
        if len(stage.store.reads) >= 7:
            enough.set()
        return chunk

    def check() -> None:
        if enough.is_set():
            raise Cancelled("enough")

    stage.store.on_chunk = cancel
    with pytest.raises(Cancelled, match="enough"):
        stage.download(settings=settings, raise_if_cancelled=check)
    assert threads_left() == []
    assert len(stage.store.reads) <= 7 + settings.concurrency


def test_cancelling_while_one_large_body_comes(stage: Stage) -> None:
    stage.disk.write("large", noise(1, 1024 * KIB))
    stage.disk.upload(pack_size=2048 * KIB)
    chunks: list[int] = []

    def check() -> None:
        if len(chunks) >= 3:
            raise Cancelled("enough")

    def count(pack: str, chunk: bytes) -> bytes:
        chunks.append(len(chunk))
        return chunk

    stage.store.on_chunk = count
    with pytest.raises(Cancelled):
        stage.download(settings=ONE_BY_ONE, raise_if_cancelled=check)
    assert len(chunks) == 3
    assert threads_left() == []


def test_cancelled_before_it_begins(stage: Stage) -> None:
    stage.disk.write("f", noise(1, 10))
    stage.disk.upload()

    def check() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        stage.download(raise_if_cancelled=check)
    assert stage.written() == []
    assert stage.store.reads == []


# Node manifests.


def _stream_of(text: bytes, cut: Callable[[bytes], bytes]) -> Callable[[], Any]:
    return lambda: NodeManifestReader([cut(text)], "forged")


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_cut_node_manifest_writes_nothing(stage: Stage, kept: float) -> None:
    """Its lines are read to the end before the first file is fetched."""
    for number in range(50):
        stage.disk.write(f"f{number}", noise(number, 100))
    stage.disk.upload()
    text = manifest_of(stage.disk.entries().values())
    with pytest.raises(FormatProblem, match="forged: is cut off"):
        stage.download(manifest=_stream_of(text, lambda body: body[: int(kept * len(body))]))
    assert stage.written() == []
    assert stage.store.reads == []


def test_extent_beyond_its_pack(stage: Stage) -> None:
    stage.disk.write("file", noise(1, 100))
    stage.disk.upload()
    entry = stage.disk.entries()["file"]
    (extent,) = entry.extents
    forged = replace(entry, extents=(Extent(extent.pack, 1, 100),))
    with pytest.raises(CorruptObject, match=rf"pack {extent.pack} .* is too short for ks/t/file"):
        stage.download_these([forged])


@pytest.mark.parametrize("offset", [1 << 40, (1 << 63) - 101])
def test_extent_far_away(stage: Stage, offset: int) -> None:
    stage.disk.write("file", noise(1, 100))
    stage.disk.upload()
    entry = stage.disk.entries()["file"]
    (extent,) = entry.extents
    forged = replace(entry, extents=(Extent(extent.pack, offset, 100),))
    with pytest.raises(CorruptObject, match="is too short"):
        stage.download_these([forged])


def test_extents_of_other_bytes(stage: Stage) -> None:
    """A forged manifest may name any bytes of the node's packs, but not their digest."""
    stage.disk.write("a", noise(1, 100))
    stage.disk.write("b", noise(2, 100))
    stage.disk.upload(readers=1)
    entry = stage.disk.entries()["a"]
    (extent,) = entry.extents
    forged = replace(entry, extents=(Extent(extent.pack, 50, 100),))
    found = hashlib.sha256((noise(1, 100) + noise(2, 100))[50:150]).hexdigest()
    with pytest.raises(CorruptObject, match=f"has SHA-256 {found}, the manifest says"):
        stage.download_these([forged])
    assert stage.contents().get("a") is None
