# SPDX-License-Identifier: Apache-2.0
"""Cassandra's files on disk: snapshots, staging, the exchange of tables."""
