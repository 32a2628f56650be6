# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document, which also validates requests."""
