# SPDX-License-Identifier: Apache-2.0
"""status check."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from typing import Any

from cliff.lister import Lister
from typing_extensions import override

from magnetodb_backup.cli.app import FAILED, ServiceCommand
from magnetodb_backup.domain.backup.records import LIVE_WITHIN
from magnetodb_backup.errors import BackupError, InvalidValue

_OK, _BAD = "ok", "FAILED"


class Check(ServiceCommand, Lister):
    """Check the database, the conductors and the workers; the exit code is 1 on a failed check."""

    _code = 0

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        try:
            database = self.services.database()
        except InvalidValue:
            raise  # the configuration is wrong, so the database cannot be checked
        except BackupError as error:
            self._code = FAILED
            return ("check", "result", "detail"), [("database", _BAD, str(error))]
        rows = [("database", _OK, f"version {database.version()}")]
        conductors = database.nodes.conductors(LIVE_WITHIN)
        rows.append(
            ("conductor", _OK, ", ".join(conductors))
            if conductors
            else ("conductor", _BAD, "none is running; start magnetodb-backup-conductor")
        )
        nodes = database.nodes.list(live_within=LIVE_WITHIN)
        count = Counter(n.report.member.host_id for n in nodes if n.live and n.report.member)
        if not nodes:
            rows.append(("worker", _BAD, "none has reported; start magnetodb-backup-worker"))
        for node in nodes:
            member = node.report.member
            name = f"worker {node.report.worker_id} on {node.report.hostname}"
            problem = node.report.problem
            if not node.live:
                problem = (
                    f"silent since {node.last_seen:%Y-%m-%d %H:%M:%S} UTC; start it, or see node "
                    "forget if the node has left the cluster"
                )
            elif member and count[member.host_id] > 1:
                problem = f"another live worker reports host ID {member.host_id}; stop one"
            rows.append((name, _BAD if problem else _OK, problem))
        self._code = FAILED if any(row[1] == _BAD for row in rows) else 0
        return ("check", "result", "detail"), rows

    @override
    def run(self, parsed_args: Namespace) -> int:
        return int(super().run(parsed_args) or 0) or self._code
