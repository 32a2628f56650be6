# SPDX-License-Identifier: Apache-2.0
"""backup verify."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from magnetodb_backup.cli.app import FAILED
from magnetodb_backup.cli.as_of import add_as_of
from magnetodb_backup.cli.backup import OnBackup
from magnetodb_backup.cli.show import cell
from magnetodb_backup.cli.verification import problems_of
from magnetodb_backup.domain.backup.proofs import Rung
from magnetodb_backup.domain.backup.views import job_view

RUNGS = {
    Rung.EXISTS: "prove that the store has all bytes; the default",
    Rung.READ_DATA: "read every byte and compare its digest, on all nodes side by side",
    Rung.PARSE: "fetch all SSTables to their nodes, where Cassandra's own verifier opens each one "
    "and reads its rows, without the running Cassandra",
    Rung.SCHEMA: "apply the schema to an empty scratch Cassandra on one node",
}


def percentage(text: str) -> float:
    """Return a percentage with or without its sign."""
    try:
        return float(text.strip().removesuffix("%"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage, such as 5%") from None


class Verify(OnBackup):
    """Prove that a backup can be restored: that its bytes exist, parse, and fit its schema.

    Options can be combined. backup show shows how far each table is proved, and when.
    """

    _wait = True

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        for rung, text in RUNGS.items():
            parser.add_argument(
                f"--{rung.value}", dest="rungs", action="append_const", const=rung.value, help=text
            )
        parser.add_argument(
            "--sample",
            type=percentage,
            metavar="N%",
            help="with --read-data: read only N percent of the packs. Successive samples of "
            "backups with the same scope cover all packs",
        )
        parser.add_argument(
            "--seed",
            type=int,
            metavar="NUMBER",
            help="repeat the sample with this number, which its report has",
        )
        add_as_of(parser, "The result is not recorded as a proof of what the store has now")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backup = self.find(parsed_args)
        job = self.services.requests().verify_backup(
            backup.id,
            rungs=parsed_args.rungs or (),
            sample=parsed_args.sample,
            seed=parsed_args.seed,
            as_of=parsed_args.as_of,
        )
        if parsed_args.wait:
            job = self.waiter(parsed_args).verification(job.id)
            if problems := list(problems_of(job)):
                self.ends(FAILED, *(("error", problem) for problem in problems))
        view = job_view(job)
        view |= view.pop("result") or {}
        return self.shown(parsed_args, view, brief=lambda: _as_cells(view))


def _as_cells(view: Mapping[str, Any]) -> dict[str, Any]:
    return {name: cell(name, value) for name, value in view.items()}
