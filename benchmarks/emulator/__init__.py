# SPDX-License-Identifier: Apache-2.0
"""The fast emulator against torch's own float model: images a second of MobileNetV2."""
