# SPDX-License-Identifier: Apache-2.0
"""Backups as somebody writes them who may write to the store: copies of a good one, changed."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zstandard

from tests.lab.reader import Reader


@dataclass
class Documents:
    """A backup's documents; ``nodes`` are the lines of each node manifest by host ID."""

    manifest: dict[str, Any]
    schema: str
    nodes: dict[str, list[dict[str, Any]]]

    def files(self, host_id: str) -> list[dict[str, Any]]:
        """Return a node's lines without header and trailer."""
        return self.nodes[host_id][1:-1]


class Forger:
    """Writes copies of one backup."""

    def __init__(self, reader: Reader, backup_id: str) -> None:
        self._reader = reader
        manifest = reader.manifest(backup_id)
        self._original = Documents(
            manifest,
            reader.schema(backup_id),
            {n["host_id"]: self._lines(n["manifest"]["name"]) for n in manifest["nodes"]},
        )

    def forge(self, change: Callable[[Documents], None]) -> str:
        """Store a changed copy, with all digests and counts as they should be; return its ID."""
        made, backup_id = copy.deepcopy(self._original), str(uuid.uuid4())
        made.manifest["backup_id"] = backup_id
        change(made)
        made.manifest["schema"] = self._put(made, f"backups/{backup_id}/schema.cql", made.schema)
        for share in made.manifest["nodes"]:
            header, *files, trailer = made.nodes[share["host_id"]]
            header["backup_id"] = backup_id
            trailer["trailer"].update(files=len(files), bytes=sum(f["size"] for f in files))
            lines = "".join(json.dumps(x) + "\n" for x in (header, *files, trailer))
            name = f"backups/{backup_id}/nodes/{share['host_id']}.jsonl.zst"
            share["manifest"] = self._put(made, name, lines)
        self._put(made, f"backups/{backup_id}/manifest.json", json.dumps(made.manifest))
        return backup_id

    def finish(self, backup_id: str, name: str, change: Callable[[bytes], bytes]) -> None:
        """Change an object of a forged backup without telling anybody."""
        where = self._reader.container, f"backups/{backup_id}/{name}"
        self._reader.store.put(*where, change(self._reader.store.get(*where)))

    def put_pack(self, host_id: str, like: str, change: Callable[[bytes], bytes]) -> str:
        """Store a changed copy of a pack under a name that is not its digest; return the name."""
        name = hashlib.sha256(uuid.uuid4().bytes).hexdigest()
        body = self._reader.store.get(*self._reader.pack(host_id, like))
        self._reader.store.put(*self._reader.pack(host_id, name), change(body))
        return name

    def _put(self, made: Documents, name: str, text: str) -> dict[str, Any]:
        body = text.encode()
        if name.endswith(".zst"):
            body = zstandard.ZstdCompressor().compress(body)
        self._reader.store.put(self._reader.container, name, body)
        return {"name": name, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}

    def _lines(self, name: str) -> list[dict[str, Any]]:
        raw = self._reader.store.get(self._reader.container, name)
        text = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
        return [json.loads(line) for line in text.splitlines()]
