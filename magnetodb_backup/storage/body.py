# SPDX-License-Identifier: Apache-2.0
"""One form for the body of a ``put``: bytes, memoryview or file."""

from __future__ import annotations

from typing import BinaryIO

from magnetodb_backup.errors import IncompleteBody, InvalidValue, Unexpected


class Body:
    """Returns exactly ``size`` bytes in pieces, without copying a body in memory.

    :raises InvalidValue: if a body in memory does not have ``size`` bytes.
    """

    def __init__(self, body: bytes | memoryview | BinaryIO, size: int) -> None:
        self.size = size
        self._view: memoryview | None = None
        self._file: BinaryIO | None = None
        self._position = 0
        if isinstance(body, bytes | bytearray | memoryview):
            self._view = memoryview(body).cast("B")
            if len(self._view) != size:
                raise InvalidValue(f"the body has {len(self._view)} bytes, not {size} as announced")
        else:
            self._file = body
            self.seek(0)

    def tell(self) -> int:
        """Return the number of bytes returned since the start."""
        return self._position

    def seek(self, position: int, whence: int = 0) -> int:
        """Go back to the start, or to another ``position`` counted from there."""
        if whence != 0:
            raise InvalidValue("a body can only be positioned from its start")
        if self._file is not None:
            self._file.seek(position)
        self._position = position
        return position

    def read(self, amount: int = -1) -> bytes | memoryview:
        """Return at most ``amount`` of the next bytes; empty after the last.

        :raises IncompleteBody: if the file ends before ``size`` bytes.
        """
        rest = self.size - self._position
        amount = rest if amount < 0 else min(amount, rest)
        if amount <= 0:
            return b""
        piece: bytes | memoryview
        if self._view is not None:
            piece = self._view[self._position : self._position + amount]
        else:
            piece = self._read_file(amount)
        self._position += len(piece)
        return piece

    def _read_file(self, amount: int) -> bytes:
        assert self._file is not None
        try:
            piece = self._file.read(amount)
        except OSError as error:
            # Left alone, an HTTP library would take it for a broken connection.
            raise Unexpected(f"the body cannot be read: {error}; check the local disk") from error
        if not piece:
            raise IncompleteBody(
                f"the body ended after {self._position} of {self.size} bytes; "
                "was the file cut while it was read?"
            )
        return piece
