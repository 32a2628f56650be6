# SPDX-License-Identifier: Apache-2.0
"""Documents as the columns of the catalogue store them."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url

from magnetodb_backup.database.column_types import Document
from magnetodb_backup.errors import InvalidValue

_LARGE = {"tables": ["x" * 12_500_000]}


@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_large_document_where_the_database_takes_it(database: str) -> None:
    """The bound of MariaDB failed backups in databases that have no such bound."""
    text = Document().process_bind_param(_LARGE, make_url(f"{database}://").get_dialect()())
    assert text is not None
    assert len(text) > 12_500_000


@pytest.mark.parametrize("database", ["mysql", "mariadb"])
def test_document_that_is_too_large_for_mariadb(database: str) -> None:
    with pytest.raises(InvalidValue, match=r"12,500,\d{3} bytes is too large for the database"):
        Document().process_bind_param(_LARGE, make_url(f"{database}://").get_dialect()())
