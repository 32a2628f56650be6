# SPDX-License-Identifier: Apache-2.0
"""The migrations of the database schema, for alembic."""
