# SPDX-License-Identifier: Apache-2.0
"""The scratch Cassandra of a worker: lends a place, runs a node there, verifies SSTables there."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from oslo_config import cfg

from magnetodb_backup.cassandra.scratch.home import ScratchDirectory
from magnetodb_backup.cassandra.scratch.installation import Installation
from magnetodb_backup.cassandra.scratch.node import (
    Connect,
    ScratchNode,
    ScratchSettings,
    scratch_node,
)
from magnetodb_backup.cassandra.scratch.verifier import Verifier
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import ScratchFailed


def from_conf(conf: cfg.ConfigOpts, connect: Connect, state_dir: Path) -> ScratchCassandra:
    """Return the scratch Cassandra that group ``[scratch]`` describes."""
    options = conf.scratch
    directory = Path(options.directory) if options.directory else state_dir / "scratch"
    settings = ScratchSettings(
        Installation.from_conf(conf),
        options.configuration,
        options.address,
        options.start_timeout,
        options.verify_timeout,
    )
    return ScratchCassandra(directory, settings, connect)


class ScratchPlace:
    """A directory for one scratch Cassandra, which is removed afterwards."""

    def __init__(self, home: Path, settings: ScratchSettings, connect: Connect) -> None:
        self._home, self._settings, self._connect = home, settings, connect

    def node(
        self, raise_if_cancelled: Callable[[], None], *, lenient: bool
    ) -> AbstractContextManager[ScratchNode]:
        """Run Cassandra; its schema is on disk afterwards.

        With ``lenient`` it can create every kind of table, also one that the node does not allow.

        :raises ScratchFailed: if it does not start, with the end of its log.
        """
        return scratch_node(
            self._home, self._settings, self._connect, raise_if_cancelled, lenient=lenient
        )

    def directory(self, table: TableName) -> Path | None:
        """Return where SSTables of a table are verified; None if there is no such table."""
        made = sorted((self._home / "data" / table.keyspace).glob(f"{table.table}-*"))
        if not made:
            return None
        return self._home / "fetched" / table.keyspace / made[0].name

    def verify(
        self, table: TableName, sstables: Sequence[str], raise_if_cancelled: Callable[[], None]
    ) -> dict[str, str]:
        """Let Cassandra's verifier read the SSTables in the directory of a table.

        Return Cassandra's message for each of ``sstables`` that it does not accept.

        :raises ScratchFailed: if the verifier cannot be run, or there is no such table.
        """
        directory = self.directory(table)
        if directory is None:
            raise ScratchFailed(f"the scratch Cassandra has no table {table}")
        settings = self._settings
        verifier = Verifier(settings.installation, self._home, settings.verify_timeout)
        return verifier.verify(table, directory, sstables, raise_if_cancelled)


class ScratchCassandra:
    """Lends places for scratch Cassandras, one at a time."""

    def __init__(self, path: Path, settings: ScratchSettings, connect: Connect) -> None:
        self._directory = ScratchDirectory(path)
        self._settings, self._connect = settings, connect

    @property
    def path(self) -> Path:
        """The directory of all places."""
        return self._directory.path

    def sweep(self) -> None:
        """Remove what a worker that died has left: processes and files."""
        self._directory.sweep()

    @contextmanager
    def home(self, raise_if_cancelled: Callable[[], None]) -> Iterator[ScratchPlace]:
        """Lend a place, once no other one is lent.

        :raises ScratchFailed: if the directory or the address cannot be used.
        """
        address = self._settings.address
        try:
            loopback = ipaddress.ip_address(address).is_loopback
        except ValueError:
            loopback = address == "localhost"
        if not loopback:
            raise ScratchFailed(
                f"[scratch] address is {address}; use a loopback address, because the scratch "
                "Cassandra lets everybody in who can reach it"
            )
        with self._directory.home(raise_if_cancelled) as home:
            yield ScratchPlace(home, self._settings, self._connect)
