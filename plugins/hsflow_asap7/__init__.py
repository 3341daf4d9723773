# SPDX-License-Identifier: Apache-2.0
"""The ASAP7 target: synthesis onto the 7.5-track cells, timing, power and layout."""
