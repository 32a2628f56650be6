# SPDX-License-Identifier: Apache-2.0
"""Directories for servers that refuse to run as root."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def server_user(name: str) -> str | None:
    """Return who runs a server: the package's user ``name`` for root, else the current one."""
    return name if os.getuid() == 0 else None


class OwnedDirectory:
    """A temporary directory that belongs to ``user``, outside of pytest's: those are private."""

    def __init__(self, prefix: str, user: str | None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"{prefix}-"))
        self._user = user
        self.give(self.path)

    def make(self, name: str) -> Path:
        """Make a directory in it."""
        path = self.path / name
        path.mkdir(mode=0o700)
        self.give(path)
        return path

    def write(self, name: str, text: str) -> Path:
        """Write a file that only its owner may read."""
        path = self.path / name
        path.touch(mode=0o600)
        path.write_text(text)
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Make it the server's."""
        if self._user is not None:
            shutil.chown(path, self._user, self._user)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
