# SPDX-License-Identifier: Apache-2.0
"""The architectures that come with hsflow, by the name that `[load] model` gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from hsflow_torch.models.digits import digits_net

BUILT_IN: Mapping[str, Callable[[int], nn.Module]] = {"digits": digits_net}
"""Each built-in architecture's factory; its argument is the number of classes."""
