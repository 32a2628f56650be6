# SPDX-License-Identifier: Apache-2.0
"""Makes data directories with snapshots as Cassandra lays them out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from magnetodb_backup.domain.tables import TableDescription, TableName

SSTABLE = ("Data.db", "Digest.crc32", "Index.db", "Statistics.db", "TOC.txt")


def table(keyspace: str, name: str, number: int = 1) -> TableDescription:
    return TableDescription(TableName(keyspace, name), f"{number:032x}")


class DataDirectories:
    """Some data directories; the first one holds the system keyspace."""

    def __init__(self, root: Path, count: int = 2) -> None:
        self.paths = [root / f"data{number}" for number in range(count)]
        for path in self.paths:
            path.mkdir(parents=True)
        (self.paths[0] / "system").mkdir()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(str(path) for path in self.paths)

    def table_directory(self, which: int, of: TableDescription) -> Path:
        return self.paths[which] / of.name.keyspace / f"{of.name.table}-{of.id}"

    def snapshot(
        self,
        which: int,
        of: TableDescription,
        tag: str = "tag",
        generations: Iterable[int] = (1,),
        index: str = "",
    ) -> Path:
        """Make the components of SSTables; return their directory."""
        directory = self.table_directory(which, of) / "snapshots" / tag / index
        directory.mkdir(parents=True, exist_ok=True)
        for generation in generations:
            for component in SSTABLE:
                name = f"nb-{generation}-big-{component}"
                (directory / name).write_text(f"{which} {of.name} {index} {name}")
        return directory

    def manifest(
        self, which: int, of: TableDescription, files: Iterable[str], tag: str = "tag"
    ) -> Path:
        """Write the manifest.json of a table's snapshot."""
        path = self.snapshot(which, of, tag, ()) / "manifest.json"
        path.write_text(json.dumps({"files": list(files), "created_at": "now"}))
        return path
