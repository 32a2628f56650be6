# SPDX-License-Identifier: Apache-2.0
"""The rules of backup and restore: no I/O, no clock, no framework."""
