# SPDX-License-Identifier: Apache-2.0
"""Tasks of a verification: with a scratch Cassandra, to parse SSTables and to apply a schema."""
