# SPDX-License-Identifier: Apache-2.0
"""Constant matrix-vector multiplication: hsflow, da4ml and alkaid on the same matrices, by the same accounting."""
