# SPDX-License-Identifier: Apache-2.0
"""A program in the place of Java: it does what Cassandra and its verifier do, as far as needed.

The directory of its class path has the file ``orders``: JSON that says how it misbehaves.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from magnetodb_backup.cassandra.scratch.installation import Installation

_PROGRAM = """
import json, os, pathlib, signal, socket, sys, time
words = sys.argv[1:]
class_path = words[words.index("-cp") + 1].split(":")
options = ("-X", "-D", "@")
program = [w for w in words[words.index("-cp") + 2:] if not w.startswith(options)]
properties = dict(w[2:].split("=", 1) for w in words if w.startswith("-D"))
settings = json.loads(pathlib.Path(properties["cassandra.config"][7:]).read_text())
orders = json.loads((pathlib.Path(class_path[-1]) / "orders").read_text())
with open(pathlib.Path(class_path[-1]) / "called", "a") as file:
    file.write(json.dumps({"words": words, "settings": settings, "pid": os.getpid(),
                           "environment": dict(os.environ)}) + "\\n")

def verify(keyspace, table):
    data, fetched = map(pathlib.Path, settings["data_file_directories"])
    (made,) = (data / keyspace).glob(table + "-*")
    found = sorted((fetched / keyspace / made.name).glob("*-Data.db"))
    bodies = {path: path.read_text() for path in found}
    for path, body in bodies.items():
        if body == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if body == "die":
            print("Exception in thread main java.lang.OutOfMemoryError: Java heap space")
            sys.exit(3)
        if body == "load":
            print(f"Error Loading {str(path)[:-8]}: Corrupted: {path}", file=sys.stderr)
            sys.exit(1)
    failed = 0
    for path, body in bodies.items():
        if body == "unseen":
            continue
        reader = f"BigTableReader:big(path='{path}')"
        print(f"Verifying {reader} (1KiB)")
        if body == "verify":
            failed = 1
            print(f"WARNING: Error verifying {reader}: Invalid SSTable {path}, please repair")
            if "--debug" in program:
                print("java.lang.RuntimeException: Invalid SSTable")
                print("Caused by: java.lang.Exception: Invalid SSTable")
                print("Caused by: org.apache.cassandra.Corrupt: key is out of order")
        else:
            print(f"Verify of {reader} succeeded. All 3 rows read successfully")
    sys.exit(failed)

if program[0].endswith("StandaloneVerifier"):
    time.sleep(orders.get("slow", 0))
    verify(*program[-2:])
for line in orders.get("log", []):
    print(line, flush=True)
if "exit" in orders:
    if orders.pop("once", False):
        (pathlib.Path(class_path[-1]) / "orders").write_text("{}")
    sys.exit(orders["exit"])
if orders.get("deaf"):
    time.sleep(600)
def end(*_):
    (pathlib.Path(properties["cassandra.storagedir"]) / "drained").touch()
    sys.exit(143)
if not orders.get("stubborn"):
    signal.signal(signal.SIGTERM, end)
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with socket.create_server((settings["rpc_address"], settings["native_transport_port"])) as server:
    while True:
        server.accept()[0].close()
"""


class FakeJava:
    """The installation in a directory, and what its Java was called with."""

    def __init__(self, root: Path) -> None:
        self._root = root / "installation"
        self._root.mkdir(exist_ok=True)
        self.java = self._root / "java"
        self.java.write_text(f"#!{sys.executable}\n{textwrap.dedent(_PROGRAM)}")
        self.java.chmod(0o700)
        self.order()

    def order(self, **orders: Any) -> None:
        """Set how the next runs misbehave."""
        (self._root / "orders").write_text(json.dumps(orders))

    def installation(self, **values: Any) -> Installation:
        return Installation(
            **{"class_path": str(self._root), "java": str(self.java), "heap": "64M", **values}
        )

    def called(self) -> list[dict[str, Any]]:
        """Return the runs so far: their words, settings, process IDs and environments."""
        path = self._root / "called"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]
