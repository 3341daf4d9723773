# SPDX-License-Identifier: Apache-2.0
"""The architectures that come with hsflow, by the name that `[load] model` gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from hsflow_torch.models.digits import digits_net
from hsflow_torch.models.mobilenet_v2 import mobilenet_v2

BUILT_IN: Mapping[str, Callable[[int], nn.Module]] = {"digits": digits_net, "mobilenet_v2": mobilenet_v2}
"""Each built-in architecture's factory; its argument is the number of classes."""
