# SPDX-License-Identifier: Apache-2.0
"""node list, node forget."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from cliff.lister import Lister
from typing_extensions import override

from magnetodb_backup.cli.app import ServiceCommand
from magnetodb_backup.domain.backup.records import LIVE_WITHIN
from magnetodb_backup.domain.backup.views import node_view
from magnetodb_backup.errors import Conflict, NotFound

_COLUMNS = (
    "host_id", "address", "cluster", "dc", "rack", "version", "live", "problem", "worker_id",
    "last_seen",
)  # fmt: skip


class List(ServiceCommand, Lister):
    """List the Cassandra nodes that the workers report."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--cluster", help="list only nodes of this cluster")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        nodes = self.services.database().nodes.list(
            live_within=LIVE_WITHIN, cluster=parsed_args.cluster
        )
        views = [node_view(n) for n in nodes]
        return _COLUMNS, [tuple(v[c] for c in _COLUMNS) for v in views]


class Forget(ServiceCommand):
    """Remove the record of a worker whose node has left the cluster permanently."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("worker", metavar="WORKER_ID", help="the worker's ID, see node list")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> None:
        nodes = self.services.database().nodes
        known = {n.report.worker_id: n for n in nodes.list(live_within=LIVE_WITHIN)}
        node = known.get(parsed_args.worker)
        if node is None:
            raise NotFound(f"there is no worker {parsed_args.worker!r}; see node list")
        if node.live:
            raise Conflict(
                f"worker {parsed_args.worker} on {node.report.hostname} is live; stop it first"
            )
        nodes.forget(parsed_args.worker)
        self.app.stdout.write(f"worker {parsed_args.worker} is forgotten\n")
