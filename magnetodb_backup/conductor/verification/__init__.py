# SPDX-License-Identifier: Apache-2.0
"""The job of a verification: the rungs of the ladder of proof, and their results by table."""
