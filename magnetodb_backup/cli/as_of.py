# SPDX-License-Identifier: Apache-2.0
"""The option of commands that can read an earlier state of the store."""

from __future__ import annotations

import argparse
from datetime import datetime

from magnetodb_backup.domain.as_of import parse_as_of
from magnetodb_backup.errors import InvalidValue


def add_as_of(parser: argparse.ArgumentParser, remark: str) -> None:
    """Add ``--as-of``; its help ends with ``remark``."""
    parser.add_argument(
        "--as-of",
        type=_moment,
        metavar="TIME",
        help="read the store as it was at this time (ISO 8601, UTC): before objects were deleted "
        f"or overwritten. Swift must have kept their versions: see [swift] versions. {remark}",
    )


def _moment(text: str) -> datetime:
    try:
        return parse_as_of(text)
    except InvalidValue as error:
        raise argparse.ArgumentTypeError(str(error)) from None
