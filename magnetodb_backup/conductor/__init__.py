# SPDX-License-Identifier: Apache-2.0
"""Runs jobs: each is a list of steps, whose tasks the workers perform."""
