# SPDX-License-Identifier: Apache-2.0
"""Build the distribution; setup.cfg describes it."""

import setuptools

setuptools.setup()
