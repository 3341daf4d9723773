# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of hsflow against the programs that do the same."""
