# SPDX-License-Identifier: Apache-2.0
"""The commands of the `hsflow` program, one module each or a few that belong together."""
