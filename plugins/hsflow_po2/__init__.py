# SPDX-License-Identifier: Apache-2.0
"""Quantize a `Network` to powers of two, and emulate the resulting `Graph` fast.

A package with another number system for weights builds on these, and on nothing else here:

    rounding.WeightRounding, RoundedWeight    what it implements, and what that returns
    rounding.per_output                       broadcasts one value an output channel
    stage.QuantizerOptions                    the options it extends
    stage.quantize_with                       all of the stage but the rounding
"""
