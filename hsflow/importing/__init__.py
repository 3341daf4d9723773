# SPDX-License-Identifier: Apache-2.0
"""What every loader shares, whatever its format: layers are assembled, scales folded, the image's preprocessing too."""
