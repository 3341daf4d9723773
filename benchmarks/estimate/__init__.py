# SPDX-License-Identifier: Apache-2.0
"""How far the plan's estimate of a kernel is from what the optimizer makes of it."""
