# SPDX-License-Identifier: Apache-2.0
"""The message bus: clients and endpoints of conductor and workers."""
