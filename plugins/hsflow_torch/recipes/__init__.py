# SPDX-License-Identifier: Apache-2.0
"""How the checkpoints that come with hsflow were trained, as commands that train them again."""
