# SPDX-License-Identifier: Apache-2.0
"""backup files."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any

from cliff.lister import Lister
from typing_extensions import override

from magnetodb_backup.cli.app import ServiceCommand
from magnetodb_backup.cli.backup import add_backup
from magnetodb_backup.domain.tables import TableName
from magnetodb_backup.errors import NotFound

_FILE_COLUMNS = (
    "host_id", "data_directory", "keyspace", "table", "index", "name", "size", "sha256",
)  # fmt: skip


class Files(ServiceCommand, Lister):
    """List a backup's files, read from the store."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        add_backup(parser)
        parser.add_argument("--node", metavar="HOST_ID", help="list only files of this node")
        parser.add_argument("--table", metavar="K.T", help="list only files of this table")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backup = self.services.database().backups.find(parsed_args.backup)
        source = self.services.repository(backup.cluster)
        table = TableName.parse(parsed_args.table) if parsed_args.table else None
        manifest = source.read_backup(backup.id)
        hosts = [n.host_id for n in manifest.nodes if parsed_args.node in (None, n.host_id)]
        if not hosts:
            raise NotFound(f"backup {backup.id} has no node {parsed_args.node}; see backup show")

        def rows() -> Iterator[tuple[Any, ...]]:
            for host_id in hosts:
                for entry in source.node_manifest(backup.id, host_id):
                    if table not in (None, TableName(entry.keyspace, entry.table)):
                        continue
                    yield (
                        host_id, entry.data_directory, entry.keyspace, entry.table,
                        entry.index or "", entry.name, entry.size, entry.sha256,
                    )  # fmt: skip

        return _FILE_COLUMNS, rows()
