# SPDX-License-Identifier: Apache-2.0
"""Controls a node: nodetool, Jolokia, the bulk loader, the service commands."""
