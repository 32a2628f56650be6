# SPDX-License-Identifier: Apache-2.0
"""Documents of JSON lines in one Zstandard frame: written and read as streams, never trusted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, ParamSpec, TypeVar

import zstandard

from magnetodb_backup.domain.backup.manifest import FORMAT
from magnetodb_backup.errors import BackupError, FormatProblem

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
LONGEST_LINE = 16 * 1024 * 1024
# Compressed bytes expanded at once: at worst, every four of them become 128 KiB.
_PIECE = 1024


class LineWriter:
    """Writes documents, compressed, into ``file``."""

    def __init__(self, file: BinaryIO) -> None:
        self._stream = zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False)

    def write(self, document: Mapping[str, Any], too_long: str) -> None:
        """Write one line.

        :raises FormatProblem: with the text ``too_long``, if readers would refuse the line.
        """
        line = json.dumps(document, separators=(",", ":")).encode()
        if len(line) > LONGEST_LINE:
            raise FormatProblem(too_long)
        self._stream.write(line + b"\n")

    def finish(self) -> None:
        """End the frame; nothing may follow."""
        self._stream.flush(zstandard.FLUSH_FRAME)


def checked(
    name: str, make: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """Return the result of ``make``; its errors become a FormatProblem of ``name``."""
    try:
        return make(*args, **kwargs)
    except BackupError as error:
        raise FormatProblem(f"{name}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = str(error) if isinstance(error, ValueError) else repr(error)
        raise FormatProblem(f"{name}: malformed line: {reason}") from None


def read_lines(chunks: Iterable[bytes], name: str) -> Iterator[dict[str, Any]]:
    """Yield the documents of the object ``name``.

    :raises FormatProblem: for a malformed line, and at the end if the object is cut off.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    rest = b""
    try:
        for chunk in chunks:
            for begin in range(0, len(chunk), _PIECE):
                if decompressor.eof:
                    raise FormatProblem(f"{name}: something follows the end")
                rest += decompressor.decompress(chunk[begin : begin + _PIECE])
                if decompressor.unused_data:
                    raise FormatProblem(f"{name}: something follows the end")
                *whole, rest = rest.split(b"\n")
                if len(rest) > LONGEST_LINE:
                    raise FormatProblem(f"{name}: a line is longer than {LONGEST_LINE} bytes")
                for line in whole:
                    yield read_document(line, name)
    except zstandard.ZstdError as error:
        raise FormatProblem(f"{name}: is not Zstandard data ({error})") from None
    if rest or not decompressor.eof:
        raise FormatProblem(f"{name}: is cut off")


def read_document(text: bytes, name: str) -> dict[str, Any]:
    """Parse ``text`` as a JSON object; raise FormatProblem otherwise."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatProblem(f"{name}: is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise FormatProblem(f"{name}: is not a JSON object")
    return document


def check_format(document: Mapping[str, Any], name: str) -> None:
    """Raise FormatProblem for a format version other than this one."""
    if document.get("format") != FORMAT:
        raise FormatProblem(
            f"{name}: has format version {document.get('format')!r}, this version knows {FORMAT}; "
            "use the version of magnetodb-backup that wrote it, or a newer one"
        )


def number(value: Any, least: int = 0) -> int:
    """Return ``value`` if it is a whole number from ``least`` to 2^63-1; ValueError otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 63:
        raise ValueError(f"{value!r} is not a number from {least} to 2^63-1")
    return value


def texts(values: Any) -> tuple[str, ...]:
    """Return the list of strings ``values``; raise ValueError for anything else."""
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise ValueError(f"{values!r} is not a list of strings")
    return tuple(values)
