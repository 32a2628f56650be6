# SPDX-License-Identifier: Apache-2.0
"""alembic's entry: runs on the connection that the caller opened."""

from alembic import context

import magnetodb_backup.database.setting_models  # noqa: F401 - its tables are in the metadata
from magnetodb_backup.database.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
