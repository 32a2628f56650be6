# SPDX-License-Identifier: Apache-2.0
"""What a running restore waits for is not its error."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; running restores had such texts as their errors."""
    long_text = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
    op.add_column("restores", sa.Column("waiting_for", long_text, nullable=True))
    op.execute(
        "UPDATE restores SET waiting_for = error, error = '' "
        "WHERE status = 'RESTORING' AND error <> ''"
    )
