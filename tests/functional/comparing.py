# SPDX-License-Identifier: Apache-2.0
"""What is in the store against what is on the nodes."""

from __future__ import annotations

from typing import Any

from tests.lab.rig import Rig


def compare(rig: Rig, backup: dict[str, Any], tables: list[str]) -> dict[Any, bytes]:
    """Compare a backup with a snapshot that the test takes now; return the backup's bytes."""
    ours = rig.hard_links("test-comparison", tables)
    stored = rig.reader.content(backup["id"])

    def sstables(files: dict[Any, bytes]) -> dict[Any, bytes]:
        # The two files that Cassandra writes for each snapshot tell when it was taken.
        written = ("/manifest.json", "/schema.cql")
        return {k: v for k, v in files.items() if not k[2].endswith(written)}

    differing = sstables(stored).keys() ^ sstables(ours).keys()
    assert not differing, sorted(differing)
    assert sstables(stored) == sstables(ours)
    return stored
