# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 whole: accuracy of the float network and of its powers of two, and what it costs at any speed."""
