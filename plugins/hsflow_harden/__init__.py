# SPDX-License-Identifier: Apache-2.0
"""The hardener: adder graphs, pipelining, stream structure and RTL for every layer whose weights become wires."""
