# SPDX-License-Identifier: Apache-2.0
"""Stored objects that are read once and must be what the backup manifest names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from magnetodb_backup.domain.backup.manifest import StoredObject
from magnetodb_backup.errors import CorruptObject, FormatProblem


class ExpectedChunks:
    """The chunks of a stored object, digested while they are read.

    The reader calls ``finish()`` at the end; the content is not verified before.
    ``what`` and ``was`` are the parts of a message: "the schema x has" and "it was".
    """

    def __init__(
        self, chunks: Iterable[bytes], expected: StoredObject, what: str, was: str
    ) -> None:
        self._chunks = iter(chunks)
        self._expected, self._what, self._was = expected, what, was
        self._digest, self._size = hashlib.sha256(), 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._digest.update(chunk)
            self._size += len(chunk)
            yield chunk

    def finish(self) -> None:
        """Read what is left and compare the digest.

        :raises CorruptObject: if the object is not what the backup manifest names.
        """
        for _ in self:
            pass
        found = self._digest.hexdigest()
        if (self._size, found) != (self._expected.size, self._expected.sha256):
            raise CorruptObject(
                f"{self._what} SHA-256 {found}, the backup manifest names "
                f"{self._expected.sha256}: {self._was} changed after the backup"
            )

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Report a malformed object that was changed after the backup as that.

        :raises CorruptObject: in place of a FormatProblem, if the digest is another one.
        """
        try:
            yield
        except FormatProblem:
            self.finish()
            raise
