# SPDX-License-Identifier: Apache-2.0
"""Performs tasks on one Cassandra node."""
