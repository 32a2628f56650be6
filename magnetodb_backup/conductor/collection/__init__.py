# SPDX-License-Identifier: Apache-2.0
"""The job of a collection: removes the packs of a cluster that no backup needs."""
