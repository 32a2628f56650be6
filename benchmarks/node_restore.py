# SPDX-License-Identifier: Apache-2.0
"""The download step of one node's restore, or the bare transfer of the same packs, in a process.

Says "ready" when it has started, waits for a line, downloads, and prints what that took as JSON.

Usage: python -m benchmarks.node_restore CONFIG CLUSTER HOST_ID DIRECTORY ours|bare
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.node_upload import cpu, peak_memory
from magnetodb_backup.cmd import configuration, parts
from magnetodb_backup.repository.cluster import ClusterRepository
from magnetodb_backup.repository.download.download import DownloadSettings, download_node
from magnetodb_backup.repository.node import NodeRepository


def _bare(repository: NodeRepository, directory: Path, concurrency: int) -> None:
    """Write every pack to a file, as fast as the same driver and as many threads can."""

    def fetch(pack: str) -> None:
        descriptor = os.open(directory / pack, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        try:
            for chunk in repository.read_pack(pack):
                rest = memoryview(chunk)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(fetch, repository.packs()))


def _ours(
    repository: NodeRepository, cluster: ClusterRepository, directory: Path, concurrency: int
) -> None:
    newest = next(repository.manifests.newest_first())
    backup_id = newest.header.backup_id
    download_node(
        repository,
        lambda: cluster.node_manifest(backup_id, repository.host_id),
        lambda entry: directory / "staging" / entry.keyspace / entry.table / entry.name,
        journal=directory / "journal.jsonl",
        settings=DownloadSettings(concurrency=concurrency),
        progress=lambda _: None,
        raise_if_cancelled=lambda: None,
    )


def main() -> None:
    """Get ready, download, tell."""
    config, name, host_id, place, mode = sys.argv[1:]
    conf = configuration.load(["--config-file", config])
    storage, prefix = parts.open_storage(conf), conf.storage.prefix
    repository = NodeRepository(storage, prefix, name, host_id)
    cluster = ClusterRepository(storage, prefix, name)
    concurrency = DownloadSettings().concurrency
    print("ready", flush=True)
    sys.stdin.readline()
    before = cpu()
    if mode == "bare":
        _bare(repository, Path(place), concurrency)
    else:
        _ours(repository, cluster, Path(place), concurrency)
    print(json.dumps({"cpu": cpu() - before, "peak_memory": peak_memory()}), flush=True)


if __name__ == "__main__":
    main()
