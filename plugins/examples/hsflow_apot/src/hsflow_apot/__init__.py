# SPDX-License-Identifier: Apache-2.0
"""Quantize weights to additive powers of two: an hsflow plugin that an entry point alone installs."""
