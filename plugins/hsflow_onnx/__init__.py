# SPDX-License-Identifier: Apache-2.0
"""Load ONNX files of plain convolutional networks into a `Network`; nothing is executed."""
