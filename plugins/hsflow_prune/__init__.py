# SPDX-License-Identifier: Apache-2.0
"""Prune a `Network`: exact zeros and a mask for each layer."""
