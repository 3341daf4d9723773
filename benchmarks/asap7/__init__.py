# SPDX-License-Identifier: Apache-2.0
"""What layers of MobileNetV2 cost on ASAP7: synthesized, compared with ABC alone."""
