# SPDX-License-Identifier: Apache-2.0
"""Cassandra: node control, CQL, and the files on its disks."""
