# SPDX-License-Identifier: Apache-2.0
"""CQL schemas: parsing, comparing, planning."""
