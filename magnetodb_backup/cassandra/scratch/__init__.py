# SPDX-License-Identifier: Apache-2.0
"""A private Cassandra, started from the node's own installation, and stopped and removed after."""
