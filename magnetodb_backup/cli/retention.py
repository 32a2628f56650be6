# SPDX-License-Identifier: Apache-2.0
"""retention show, set, clear, apply; backup keep, unkeep."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from cliff.columns import FormattableColumn
from cliff.lister import Lister
from cliff.show import ShowOne
from typing_extensions import override

from magnetodb_backup.cli.app import DONE, FAILED, PARTIAL, ServiceCommand
from magnetodb_backup.cli.backup import add_backup
from magnetodb_backup.cli.messages import complain
from magnetodb_backup.cli.policy_words import words_of
from magnetodb_backup.cli.show import RecordCommand
from magnetodb_backup.cli.summary import backup_fields
from magnetodb_backup.cli.units import count, size
from magnetodb_backup.cli.waiting import Waiter, add_waiting
from magnetodb_backup.domain.backup.records import Backup
from magnetodb_backup.domain.backup.views import backup_view
from magnetodb_backup.domain.jobs import Job, JobStatus
from magnetodb_backup.domain.retention.policy import ClusterPolicy, Policy
from magnetodb_backup.domain.retention.views import decision_view, policy_view, schedule_policy_view
from magnetodb_backup.errors import NotFound
from magnetodb_backup.requests.retention import choose_known, choose_with_policy

_OPTIONS = {
    "redundancy": ("N", "keep the last N restorable backups"),
    "window": ("DAYS", "keep what restores any moment of the last DAYS days"),
    "daily": ("N", "keep the newest backup of each of the last N days that have one"),
    "weekly": ("N", "keep the newest backup of each of the last N weeks that have one"),
    "monthly": ("N", "keep the newest backup of each of the last N months that have one"),
    "yearly": ("N", "keep the newest backup of each of the last N years that have one"),
    "floor": ("N", "keep N restorable backups in any case; 1 or more"),
    "failed-days": ("DAYS", "delete failed and cancelled backups after DAYS days"),
}
_MEMBERS = {"window": "window_days"}
_COLUMNS = ("backup_id", "name", "scope", "schedule", "finished_at", "state", "kept", "reasons")


class _Kept(FormattableColumn[bool]):
    """Whether a backup is kept: a word in tables."""

    @override
    def human_readable(self) -> str:
        return "kept" if self._value else "expires"


class _Reasons(FormattableColumn[list[str]]):
    """Reasons: lines of text in tables, a list in structured forms."""

    @override
    def human_readable(self) -> str:
        return "\n".join(self._value)


class _SchedulePolicies(FormattableColumn[list[dict[str, Any]]]):
    """The policies of schedules: lines of text in tables, a list in structured forms."""

    @override
    def human_readable(self) -> str:
        return "\n".join(f"{own['schedule']}: {words_of(own)}" for own in self._value)


def add_policy(parser: ArgumentParser) -> None:
    """Add the options of a policy."""
    for name, (metavar, text) in _OPTIONS.items():
        parser.add_argument(
            f"--{name}",
            type=int,
            dest=_MEMBERS.get(name, name.replace("-", "_")),
            metavar=metavar,
            help=text,
        )
    parser.add_argument(
        "--time-zone",
        metavar="NAME",
        help="IANA name of the time zone of days, weeks, months and years; UTC by default",
    )


def policy_from(parsed_args: Namespace, present: Policy) -> Policy:
    """Return the present policy with the values of the options that are given."""
    given = {f.name: getattr(parsed_args, f.name) for f in fields(Policy)}
    return replace(present, **{name: v for name, v in given.items() if v is not None})


def _add_cluster(parser: ArgumentParser) -> None:
    parser.add_argument("--cluster", help="cluster of the policy; required if there are several")


class _PolicyCommand(ServiceCommand, ShowOne):
    """Shows the retention policy of a cluster."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        _add_cluster(parser)
        return parser

    def _columns(self, record: ClusterPolicy) -> Any:
        view = policy_view(record)
        return tuple(view), tuple(view.values())


class Show(_PolicyCommand):
    """Show the retention policy of a cluster, and those that its schedules have for themselves."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        store = self.services.database().retention
        cluster = choose_with_policy(parsed_args.cluster, store.covered())
        own = [schedule_policy_view(policy) for policy in store.schedules(cluster)]
        try:
            view = policy_view(store.get(cluster))
        except NotFound:
            view = {"cluster": cluster}
        view["schedules"] = _SchedulePolicies(own)
        return tuple(view), tuple(view.values())


class Set(_PolicyCommand):
    """Give a cluster a retention policy, or change it; options left out stay as they are.

    A backup is kept as long as one of the rules keeps it. A value of 0 ends a rule. Nothing is
    deleted before retention apply runs.
    """

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        add_policy(parser)
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        requests, store = self.services.requests(), self.services.database().retention
        cluster = choose_known(parsed_args.cluster, requests.known_clusters())
        try:
            present = store.get(cluster).policy
        except NotFound:
            present = Policy()
        return self._columns(requests.set_retention(cluster, policy_from(parsed_args, present)))


class Clear(_PolicyCommand):
    """Remove the retention policy of a cluster: no backup expires any more, none is protected."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        return self._columns(self.services.requests().clear_retention(parsed_args.cluster))


class Apply(ServiceCommand, Lister):
    """Delete the backups that no rule of a retention policy keeps.

    The backups of a schedule with a policy of its own are judged by that, all others by that of the
    cluster. Lists each backup with the reasons that keep it, or with the reason for which it
    expires. The exit code is 3 if the deletion of an expired backup was refused, which --wait
    shows.
    """

    _code = DONE

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser: ArgumentParser = super().get_parser(prog_name)
        _add_cluster(parser)
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="list what would expire, and delete nothing; the workers count how many bytes "
            "that would free, unless there is --no-wait",
        )
        add_waiting(parser, default=None)
        return parser

    @override
    def run(self, parsed_args: Namespace) -> int:
        return int(super().run(parsed_args) or 0) or self._code

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        requests = self.services.requests()
        plan = requests.plan_retention(parsed_args.cluster)
        expiring = [d.candidate.id for d in plan.decisions if not d.kept]
        if parsed_args.dry_run:
            if expiring and parsed_args.wait is not False:
                self._count(parsed_args, plan.cluster, expiring)
        else:
            job = requests.apply_retention(plan.cluster)
            if parsed_args.wait:
                self._report(Waiter(self.services, parsed_args.timeout).job(job.id))
            else:
                sys.stderr.write(f"job {job.id} records the deletions\n")
        views = [decision_view(d, plan.schedule_of(d)) for d in plan.decisions]
        shown = [{**v, "kept": _Kept(v["kept"]), "reasons": _Reasons(v["reasons"])} for v in views]
        return _COLUMNS, [tuple(v[c] for c in _COLUMNS) for v in shown]

    def _count(self, parsed_args: Namespace, cluster: str, expiring: Sequence[str]) -> None:
        """Write how many bytes only the expiring backups need."""
        try:
            job = self.services.requests().create_survey(cluster, expiring)
            job = Waiter(self.services, parsed_args.timeout).job(job.id)
        except NotFound as error:
            complain("warning", f"the bytes that this frees are not counted: {error}")
            return
        result = job.result or {}
        errors = [f"node {h}: {n['error']}" for h, n in result.get("nodes", {}).items()]
        errors = [text for text in errors if not text.endswith(": ")]
        if job.status is not JobStatus.DONE or errors:
            why = job.error or "; ".join(errors)
            complain("warning", f"the bytes that this frees are not counted: {why}")
            return
        freed = size(result["backups"].get(min(expiring), 0))
        sys.stderr.write(
            f"{count(len(expiring), 'deletion')} would free {freed}, once the undelete period is "
            "over and repository collect has removed the packs\n"
        )

    def _report(self, job: Job) -> None:
        if job.status is not JobStatus.DONE:
            self._code = FAILED
            complain("error", f"the retention job is {job.status.value}: {job.error}")
            return
        result = job.result or {}
        left, later = result.get("left", []), result.get("later", 0)
        for one in left:
            complain("warning", f"backup {one['backup_id']} is left: {one['why']}")
        if later:
            complain("warning", f"{count(later, 'more backup')} expired; repeat retention apply")
        self._code = PARTIAL if left or later else DONE
        sys.stderr.write(f"{count(len(result.get('deleted', [])), 'deletion')} recorded\n")


class _MarkCommand(RecordCommand):
    """Shows a backup after its mark has changed."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        add_backup(parser)
        return parser

    def _backup(self, parsed_args: Namespace) -> str:
        return self.services.database().backups.find(parsed_args.backup).id

    def _columns(self, parsed_args: Namespace, backup: Backup) -> Any:
        return self.shown(parsed_args, backup_view(backup), brief=lambda: backup_fields(backup, ()))


class Keep(_MarkCommand):
    """Keep a backup for ever: retention does not delete it, and backup delete refuses to."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("--reason", required=True, help="why the backup is kept, one line")
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        requests = self.services.requests()
        backup = requests.keep_backup(self._backup(parsed_args), parsed_args.reason)
        return self._columns(parsed_args, backup)


class Unkeep(_MarkCommand):
    """Keep a backup no longer than the retention policy does."""

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        backup = self.services.requests().unkeep_backup(self._backup(parsed_args))
        return self._columns(parsed_args, backup)
