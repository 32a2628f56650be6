# SPDX-License-Identifier: Apache-2.0
"""An independent reader of repository format 1: urllib, json and zstandard, nothing of ours.

It follows doc/source/reference/format.rst as somebody would who restores by hand.
"""

from __future__ import annotations

import hashlib
import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import zstandard


@dataclass(frozen=True)
class Store:
    """Swift by tempauth or Keystone token: ``url`` is the account's."""

    url: str
    token: str

    def get(self, container: str, name: str, start: int = 0, length: int | None = None) -> bytes:
        request = urllib.request.Request(
            f"{self.url}/{quote(container)}/{quote(name)}", headers={"X-Auth-Token": self.token}
        )
        if length is not None:
            request.add_header("Range", f"bytes={start}-{start + length - 1}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def names(self, container: str, prefix: str) -> list[str]:
        """Return the names of all objects that start with ``prefix``, in order."""
        names: list[str] = []
        while True:
            marker = quote(names[-1], safe="") if names else ""
            request = urllib.request.Request(
                f"{self.url}/{quote(container)}?prefix={quote(prefix, safe='')}&marker={marker}",
                headers={"X-Auth-Token": self.token},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                page = answer.read().decode().splitlines()
            if not page:
                return names
            names += page

    def delete(self, container: str, name: str) -> None:
        request = urllib.request.Request(
            f"{self.url}/{quote(container)}/{quote(name)}",
            headers={"X-Auth-Token": self.token},
            method="DELETE",
        )
        urllib.request.urlopen(request, timeout=60).close()

    def make(self, container: str) -> None:
        """Make a container."""
        request = urllib.request.Request(
            f"{self.url}/{quote(container)}", headers={"X-Auth-Token": self.token}, method="PUT"
        )
        urllib.request.urlopen(request, timeout=60).close()

    def put(self, container: str, name: str, body: bytes) -> None:
        request = urllib.request.Request(
            f"{self.url}/{quote(container)}/{quote(name)}",
            body,
            headers={"X-Auth-Token": self.token},
            method="PUT",
        )
        urllib.request.urlopen(request, timeout=60).close()


@dataclass(frozen=True)
class ManifestLine:
    """One file of a node backup; ``key`` is host ID, data directory and path below it."""

    key: tuple[str, int, str]
    data: dict[str, Any]


class Reader:
    """Reads one cluster's backups."""

    def __init__(self, store: Store, prefix: str, cluster: str) -> None:
        self.store = store
        self.container = f"{prefix}.{quote(cluster, safe='').replace('.', '%2E')}"

    def manifest(self, backup_id: str) -> dict[str, Any]:
        text = self.store.get(self.container, f"backups/{backup_id}/manifest.json")
        manifest: dict[str, Any] = json.loads(text)
        assert manifest["format"] == 1
        return manifest

    def deleted_ids(self) -> list[str]:
        """Return the backups that are deleted and can be undeleted."""
        return [name.split("/")[1] for name in self.store.names(self.container, "deleted/")]

    def deleted(self, backup_id: str) -> dict[str, Any]:
        """Return what is kept of a deleted backup; ``manifest`` is the text of its manifest."""
        text = self.store.get(self.container, f"deleted/{backup_id}/manifest.json")
        kept: dict[str, Any] = json.loads(text)
        assert (kept["format"], kept["backup_id"]) == (1, backup_id)
        manifest = kept["manifest"].encode(errors="surrogateescape")
        assert hashlib.sha256(manifest).hexdigest() == kept["manifest_sha256"]
        return kept

    def undelete(self, backup_id: str) -> None:
        """Put the manifest of a deleted backup back, by hand."""
        manifest = self.deleted(backup_id)["manifest"].encode(errors="surrogateescape")
        self.store.put(self.container, f"backups/{backup_id}/manifest.json", manifest)

    def object(self, name: str) -> bytes:
        """Return an object of the cluster's container."""
        return self.store.get(self.container, name)

    def schema(self, backup_id: str) -> str:
        return self.store.get(self.container, f"backups/{backup_id}/schema.cql").decode()

    def _documents(self, backup_id: str) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Yield each node manifest's header and files."""
        for node in self.manifest(backup_id)["nodes"]:
            raw = self.store.get(self.container, node["manifest"]["name"])
            assert hashlib.sha256(raw).hexdigest() == node["manifest"]["sha256"]
            text = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
            header, *files, trailer = [json.loads(line) for line in text.splitlines()]
            assert (header["format"], header["host_id"]) == (1, node["host_id"])
            assert trailer["trailer"]["files"] == len(files)
            yield header, files

    def headers(self, backup_id: str) -> list[dict[str, Any]]:
        """Return the header of each node manifest."""
        return [header for header, _ in self._documents(backup_id)]

    def lines(self, backup_id: str) -> Iterator[ManifestLine]:
        """Yield all files of all nodes."""
        for header, files in self._documents(backup_id):
            moves = self._moves(header["host_id"])
            for data in files:
                data["extents"] = [moves.get(tuple(e), e) for e in data["extents"]]
                table = f"{data['table']}-{data['table_id']}"
                parts = [data["keyspace"], table, *([data["index"]] if data["index"] else [])]
                path = "/".join([*parts, data["name"]])
                yield ManifestLine((header["host_id"], data["data_directory"], path), data)

    def _moves(self, host_id: str) -> dict[tuple[Any, ...], list[Any]]:
        """Return where bytes of a node are now, by the extents that its manifests name."""
        name = f"backups/00000000-0000-0000-0000-000000000000/nodes/{host_id}.jsonl.zst"
        try:
            raw = self.store.get(self.container, name)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return {}
        text = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
        header, *moves, trailer = [json.loads(line) for line in text.splitlines()]
        assert (header["format"], header["host_id"]) == (2, host_id)
        assert trailer["trailer"]["moves"] == len(moves)
        return {tuple(move["named"]): move["now"] for move in moves}

    def pack(self, host_id: str, sha256: str) -> tuple[str, str]:
        """Return container and name of a pack."""
        return f"{self.container}.{host_id}", f"packs/{sha256[:2]}/{sha256}"

    def listed_packs(self, host_id: str) -> set[str]:
        """Return the packs that the store lists for a node."""
        names = self.store.names(f"{self.container}.{host_id}", "packs/")
        return {name.rpartition("/")[2] for name in names}

    def needed_packs(self, backup_id: str) -> set[tuple[str, str]]:
        """Return host ID and SHA-256 of the packs that a backup needs."""
        return {
            (line.key[0], sha256)
            for line in self.lines(backup_id)
            for sha256, _, _ in line.data["extents"]
        }

    def content(self, backup_id: str) -> dict[tuple[str, int, str], bytes]:
        """Return the bytes of every file of a backup, each pack fetched once."""
        packs: dict[tuple[str, str], bytes] = {}
        result = {}
        for line in self.lines(backup_id):
            host_id, body = line.key[0], b""
            for sha256, offset, length in line.data["extents"]:
                where = self.pack(host_id, sha256)
                if where not in packs:
                    packs[where] = self.store.get(*where)
                    assert hashlib.sha256(packs[where]).hexdigest() == sha256
                body += packs[where][offset : offset + length]
            assert len(body) == line.data["size"]
            assert hashlib.sha256(body).hexdigest() == line.data["sha256"]
            result[line.key] = body
        return result
