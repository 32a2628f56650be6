# SPDX-License-Identifier: Apache-2.0
"""What a restore asks of sstableloader, on a real Cassandra."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from magnetodb_backup.cassandra.files.staging import Staging, sstable_of
from magnetodb_backup.errors import (
    BackupError,
    Cancelled,
    CassandraUnavailable,
    SSTableRefused,
    StreamFailed,
)
from tests.contract import promises
from tests.contract.shop import ROWS, SAI, TABLE, VERSIONS, Running, run_shop
from tests.lab.artifacts import CASSANDRA_5_0
from tests.lab.ports import LoopbackBlock, free_port
from tests.lab.processes import wait_for
from tests.lab.sampling import sampled


@pytest.fixture(scope="module", params=sampled(VERSIONS, each_commit=[CASSANDRA_5_0]))
def running(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    loopback: LoopbackBlock,
) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("cassandra")
    with run_shop(directory, str(request.param), 123, loopback) as made:
        yield made


def _never() -> None:
    pass


@contextmanager
def _without_sai(running: Running) -> Iterator[None]:
    """Drop the storage-attached index meanwhile, as a restore has to do before it streams."""
    if running.version != CASSANDRA_5_0:
        yield
        return
    running.cql.execute(f'DROP INDEX "{TABLE.keyspace}".by_word')
    try:
        yield
    finally:
        running.cql.execute(SAI)


def _found(running: Running, where: str) -> set[int]:
    try:
        return running.ids(where)
    except BackupError:  # the index is still built
        return set()


def test_loader_gives_all_rows_back(running: Running, tmp_path: Path) -> None:
    with _without_sai(running):
        promises.loads_all_rows(running.loader(), running.node.address, running, tmp_path)
        assert running.ids() == ROWS
        assert running.ids("WHERE size = 3") == {i for i in ROWS if i % 5 == 3}
    if running.version == CASSANDRA_5_0:
        expected = {i for i in ROWS if i % 4 == 1}
        wait_for(
            lambda: _found(running, "WHERE colour = 'colour 1'") == expected,
            deadline=30,
            what="the index",
        )


def test_nodes_do_not_take_sstables_beside_a_storage_attached_index(
    running: Running, tmp_path: Path
) -> None:
    if running.version != CASSANDRA_5_0:
        return  # there is no SAI
    (directory, _) = running.saved(tmp_path)
    with pytest.raises(StreamFailed, match=r"logs have the reason.*failed stream session"):
        running.loader().load(str(directory), [running.node.address], _never)


def test_gathered_links_are_loaded(running: Running, tmp_path: Path) -> None:
    """SSTables of two disks, as if of two nodes: their names are the same."""
    sources = [f"{n * 8}-{n * 4}-4{n * 3}-8{n * 3}-{n * 12}" for n in "12"]
    (tmp_path / "staged").mkdir()
    staging = Staging([str(tmp_path / "staged")], sources[0])
    staging.prepare()
    for source, directory in zip(sources, running.saved(tmp_path / "saved"), strict=True):
        target = staging.directory(source, TABLE, 0)
        target.mkdir(parents=True)
        numbers = sorted({sstable_of(f.name) for f in directory.iterdir()})
        for file in directory.iterdir():
            number, component = numbers.index(sstable_of(file.name)), file.name.split("-")[-1]
            shutil.copy(file, target / f"nb-{number}-big-{component}")
    (batch,) = staging.sstables(sources).values()
    assert {(s.sstable, s.source) for s in batch} >= {("nb-0-big", source) for source in sources}
    directory, _ = staging.gather(TABLE, batch)
    with _without_sai(running):
        assert running.loader().load(str(directory), [running.node.address], _never).bytes_sent
        assert running.ids() == ROWS
    batch[0].remove()
    assert staging.sstables(sources)[TABLE] == batch[1:]


def test_loader_of_an_empty_directory(running: Running, tmp_path: Path) -> None:
    promises.loads_nothing_from_an_empty_directory(
        running.loader(), running.node.address, running, tmp_path
    )


@pytest.mark.parametrize("component", ["Statistics.db", "CompressionInfo.db"])
def test_loader_names_the_sstable_that_is_malformed(
    running: Running, tmp_path: Path, component: str
) -> None:
    directory = running.saved(tmp_path)[0]
    damaged = sorted(directory.glob(f"*-{component}"))[0]
    damaged.write_bytes(b"\0" * 7)
    with pytest.raises(SSTableRefused, match=str(directory)):
        running.loader().load(str(directory), [running.node.address], _never)


def test_loader_of_an_unknown_table(running: Running, tmp_path: Path) -> None:
    promises.loads_nothing_into_an_unknown_table(
        running.loader(), running.node.address, running, tmp_path
    )


def test_loader_when_nobody_answers(running: Running, tmp_path: Path) -> None:
    directory = running.saved(tmp_path)[0]
    loader = running.loader(native_port=free_port(running.node.address))
    with pytest.raises(CassandraUnavailable, match=running.node.address):
        loader.load(str(directory), [running.node.address], _never)


def test_loader_is_cancelled(running: Running, tmp_path: Path) -> None:
    directory = running.saved(tmp_path)[0]
    asked = 0

    def cancel_later() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise Cancelled("the restore was cancelled")

    with pytest.raises(Cancelled):
        running.loader().load(str(directory), [running.node.address], cancel_later)
    assert running.ids() == set()
