# SPDX-License-Identifier: Apache-2.0
"""Quantize a `Network` to powers of two, and emulate the resulting `Graph` fast."""
