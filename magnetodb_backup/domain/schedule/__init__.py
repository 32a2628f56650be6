# SPDX-License-Identifier: Apache-2.0
"""Schedules of backups: planned times, rules and records."""
