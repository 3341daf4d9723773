# SPDX-License-Identifier: Apache-2.0
"""Load TFLite files of plain convolutional networks into a `Network`, without TensorFlow."""
