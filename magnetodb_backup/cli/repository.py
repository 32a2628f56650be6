# SPDX-License-Identifier: Apache-2.0
"""repository collect, repository show."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from typing_extensions import override

from magnetodb_backup.cli.app import DONE, FAILED, PARTIAL
from magnetodb_backup.cli.growth import growth_fields
from magnetodb_backup.cli.show import RecordCommand, cell
from magnetodb_backup.cli.units import count, duration, size
from magnetodb_backup.cli.waiting import Waiter, add_waiting
from magnetodb_backup.domain.backup.growth import check_capacity
from magnetodb_backup.domain.backup.growth_views import growth_view
from magnetodb_backup.domain.backup.views import collection_view
from magnetodb_backup.domain.jobs import Job, JobStatus
from magnetodb_backup.requests.collections import LEAST_FREED

_SHOWN = 20  # backups, those that hold most


class _OnPacks(RecordCommand):
    """Runs a job on the packs of a cluster and shows its result."""

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("--cluster", help="the cluster; required if the service has several")
        add_waiting(parser, default=True)
        return parser

    def _ended(self, parsed_args: Namespace, job: Job) -> Any:
        """Wait if asked; return columns for cliff."""
        if parsed_args.wait:
            job = Waiter(self.services, parsed_args.timeout).job(job.id)
            self._judge(job)
        view = collection_view(job)
        view |= view.pop("result") or {}
        view |= self._more(parsed_args, job.cluster)
        return self.shown(parsed_args, view, brief=lambda: self._brief(view))

    def _more(self, parsed_args: Namespace, cluster: str) -> dict[str, Any]:
        """Return further fields of the output."""
        return {}

    def _judge(self, job: Job) -> None:
        if job.status is not JobStatus.DONE:
            self.ends(FAILED, ("error", f"the {job.kind} is {job.status.value}: {job.error}"))
            return
        nodes = (job.result or {}).get("nodes", {})
        problems = [f"node {h}: {n['error']}" for h, n in nodes.items() if n["error"]]
        self.ends(PARTIAL if problems else DONE, *(("warning", text) for text in problems))

    def _brief(self, view: Mapping[str, Any]) -> dict[str, Any]:
        """Return the readable fields."""
        fields = {"id": view["id"], "cluster": view["cluster"], "status": view["status"]}
        if "total" in view:
            fields |= self._of_total(view)
        return {name: cell(name, value) for name, value in fields.items()}

    def _of_total(self, view: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError


class Collect(_OnPacks):
    """Remove the packs that no backup needs any more. This is what frees space in the store.

    With [swift] versions the space is freed only when the old versions of objects are removed.
    A pack is removed once an earlier collection, a grace period ago, has recorded that no backup
    needs it, and this one finds the same. Backups of the cluster wait meanwhile.
    """

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="remove nothing, and report what would be removed now and what has to wait",
        )
        parser.add_argument(
            "--grace",
            type=float,
            metavar="SECONDS",
            help="time for which a pack must be recorded as of no use, by default [conductor] "
            "collect_grace",
        )
        parser.add_argument(
            "--repack",
            type=int,
            metavar="PERCENT",
            help="also write the live bytes of packs of which backups need at most this percentage "
            "to other packs, so that these packs can be removed after the grace period; use "
            "--dry-run to see the cost",
        )
        parser.add_argument(
            "--repack-minimum",
            type=int,
            metavar="BYTES",
            help="number of bytes that repacking must free in a container, or it is not done there "
            f"(default: {LEAST_FREED})",
        )
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        job = self.services.requests().create_collection(
            parsed_args.cluster,
            dry_run=parsed_args.dry_run,
            grace=parsed_args.grace,
            repack=parsed_args.repack,
            repack_minimum=parsed_args.repack_minimum,
        )
        return self._ended(parsed_args, job)

    @override
    def _of_total(self, view: Mapping[str, Any]) -> dict[str, Any]:
        total, dry_run = view["total"], view["dry_run"]
        freed = "due" if dry_run else "freed"
        return {
            "would free now" if dry_run else "freed": _amount(total, freed),
            "waits for the grace period": f"{_amount(total, 'waiting')} "
            f"({duration(view['grace'])})",
            "needed by backups": _amount(total, "live"),
            **(_repacking(view) if view["repack"] is not None else {}),
            "empty containers removed": "\n".join(view.get("retired", ())),
            "nodes": "\n".join(
                f"{node['by'] or host}: {_node(node, freed)}"
                for host, node in view["nodes"].items()
            ),
        }


class Show(_OnPacks):
    """Show what the store holds for a cluster, and what each backup alone holds.

    The workers read all node manifests for this; nothing is changed. Old versions of objects, which
    the store keeps with [swift] versions, are not counted; their space is freed only when they are
    removed. How fast each table's backups grow, and when the store is full, follows from what the
    backups of the last 30 days added.
    """

    @override
    def get_parser(self, prog_name: str) -> ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--capacity",
            type=int,
            metavar="BYTES",
            help="what the store can hold for the cluster, for the forecast of when it is full; by "
            "default the quota of the Swift account",
        )
        return parser

    @override
    def take_action(self, parsed_args: Namespace) -> Any:
        check_capacity(parsed_args.capacity)
        return self._ended(parsed_args, self.services.requests().create_survey(parsed_args.cluster))

    @override
    def _more(self, parsed_args: Namespace, cluster: str) -> dict[str, Any]:
        found = self.services.database().growth.growth(cluster, parsed_args.capacity)
        return {"growth": growth_view(found)}

    @override
    def _brief(self, view: Mapping[str, Any]) -> dict[str, Any]:
        return {**super()._brief(view), **growth_fields(view["growth"])}

    @override
    def _of_total(self, view: Mapping[str, Any]) -> dict[str, Any]:
        total = view["total"]
        dead = total["packs"] - total["live_packs"]
        return {
            "containers": len(view["nodes"]),
            "stored": f"{count(total['packs'], 'pack')}, {size(total['bytes'])}",
            "needed by backups": _amount(total, "live"),
            "shared between backups": size(total["shared_bytes"]),
            "needed by none": f"{count(dead, 'pack')}, "
            f"{size(total['bytes'] - total['live_bytes'])}; see repository collect",
            "a backup runs": "its packs count as needed by none" if total["in_use"] else "",
            "deleting frees": "\n".join(_backups(view["backups"])),
        }


def _repacking(view: Mapping[str, Any]) -> dict[str, str]:
    """Return what repacking costs, and what becomes free and when."""
    total, grace = view["total"], duration(view["grace"])
    left, unreadable = total["repack_left_bytes"], total["repack_unreadable"]
    when = f"{grace} after it" if view["dry_run"] else f"by a collection {grace} from now"
    return {
        "would repack" if view["dry_run"] else "repacked": count(total["repack_packs"], "pack"),
        "repacking reads": size(total["repack_read_bytes"]),
        "repacking writes": f"{count(total['repack_written_packs'], 'pack')}, "
        f"{size(total['repack_written_bytes'])}",
        "repacking requests": str(total["repack_requests"]),
        "repacking frees": f"{size(total['repack_frees_bytes'])}, {when}",
        "not repacked, frees too little": size(left) if left else "",
        "not repacked, damaged": count(unreadable, "pack") if unreadable else "",
    }


def _amount(use: Mapping[str, Any], what: str) -> str:
    return f"{count(use[f'{what}_packs'], 'pack')}, {size(use[f'{what}_bytes'])}"


def _node(node: Mapping[str, Any], freed: str) -> str:
    if node["error"]:
        return "not collected"
    use = node["use"]
    ends = ", container removed" if use["container_removed"] else ""
    of = " (of a node that has left)" if node["adopted"] else ""
    return f"{_amount(use, freed)} of {size(use['bytes'])}{of}{ends}"


def _backups(held: Mapping[str, int]) -> Iterator[str]:
    """Yield a line for each of the backups that hold most, with its name."""
    largest = sorted(held.items(), key=lambda item: -item[1])
    for backup_id, held_bytes in largest[:_SHOWN]:
        yield f"{backup_id}: {size(held_bytes)}"
    if more := largest[_SHOWN:]:
        yield f"{count(len(more), 'more backup')}: {size(sum(b for _, b in more))}; see --long"
