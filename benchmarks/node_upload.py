# SPDX-License-Identifier: Apache-2.0
"""The upload step of one node's backup, as the worker runs it, in a process of its own.

Says "ready" when it has started, waits for a line, uploads, and prints what that took as JSON.

Usage: python -m benchmarks.node_upload CONFIG DATA_DIRECTORY SET STATE_DIRECTORY SCALE
"""

from __future__ import annotations

import json
import resource
import sys
import uuid
from pathlib import Path

from benchmarks.data import TAG, data_sets
from magnetodb_backup.cassandra.files.snapshots import SnapshotTree
from magnetodb_backup.cmd import configuration, parts
from magnetodb_backup.domain.backup.manifest import NodeManifestHeader
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.node import NodeRepository
from magnetodb_backup.repository.upload.file_index import FileIndex
from magnetodb_backup.repository.upload.settings import UploadSettings
from magnetodb_backup.repository.upload.upload import Caller, NodeSnapshot, upload_node

HOST_ID = "00000000-0000-4000-8000-000000000001"


def cluster_of(name: str, state: str) -> str:
    """Return the cluster that a set is uploaded for."""
    return f"benchmark {name} {Path(state).name}"


def main() -> None:
    """Get ready, upload, tell."""
    config, data, name, state, scale = sys.argv[1:]
    conf = configuration.load(["--config-file", config])
    (chosen,) = [s for s in data_sets(float(scale)) if s.name == name]
    storage, prefix = parts.open_storage(conf), conf.storage.prefix
    cluster = cluster_of(name, state)
    ClusterRepository(storage, prefix, cluster).ensure()
    repository = NodeRepository(storage, prefix, cluster, HOST_ID)
    repository.ensure()
    tree, tables = SnapshotTree([data]), chosen.descriptions()
    print("ready", flush=True)
    sys.stdin.readline()
    before = cpu()
    index = FileIndex(Path(state) / "index.sqlite")
    header = NodeManifestHeader(
        backup_id=str(uuid.uuid4()),
        cluster=cluster,
        host_id=HOST_ID,
        address="127.0.0.1",
        dc="dc1",
        rack="r1",
        version="5.0",
        tokens=(0,),
        data_directories=(data,),
        snapshot_tag=TAG,
        snapshot_started_at="",
        snapshot_finished_at="",
    )
    upload_node(
        repository,
        index,
        NodeSnapshot(header, lambda: tree.files(TAG, tables)),
        UploadSettings(
            pack_size=conf.worker.pack_size,
            concurrency=conf.worker.upload_concurrency,
            readers=conf.worker.reader_threads,
        ),
        spool_directory=Path(state),
        caller=Caller(progress=lambda _: None, raise_if_cancelled=lambda: None),
    )
    index.close()
    print(json.dumps({"cpu": cpu() - before, "peak_memory": peak_memory()}), flush=True)


def cpu() -> float:
    """Return the seconds of CPU that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_memory() -> int:
    """Return the peak of this process alone, in bytes; see proc(5), VmHWM."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) * 1024


if __name__ == "__main__":
    main()
