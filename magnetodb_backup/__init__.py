# SPDX-License-Identifier: Apache-2.0
"""Backup and restore of Apache Cassandra clusters to an object store."""
