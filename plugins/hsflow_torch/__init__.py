# SPDX-License-Identifier: Apache-2.0
"""Load torch models into a `Network`."""
