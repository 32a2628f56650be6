# SPDX-License-Identifier: Apache-2.0
"""Schedules: planned times, what is started at them, rules and records."""
