# SPDX-License-Identifier: Apache-2.0
"""The commands of magnetodb-backup-manage, one module for each noun."""
