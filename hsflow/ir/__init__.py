# SPDX-License-Identifier: Apache-2.0
"""The intermediate representations: float `Network`, integer `Graph`, and `AdderGraph`."""
