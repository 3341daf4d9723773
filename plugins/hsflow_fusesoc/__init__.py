# SPDX-License-Identifier: Apache-2.0
"""The packager: a design as a FuseSoC core with its testbench, its stimulus and the results to expect."""
