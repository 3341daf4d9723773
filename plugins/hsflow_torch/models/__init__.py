# SPDX-License-Identifier: Apache-2.0
"""The architectures that come with hsflow, by the name that `[load] model` gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from hsflow_torch.models.digits import digits_net
from hsflow_torch.models.mobilenet_v2 import mobilenet_v2
from hsflow_torch.models.resnet20 import resnet20

BUILT_IN: Mapping[str, Callable[[int], nn.Module]] = {
    "digits": digits_net,
    "mobilenet_v2": mobilenet_v2,
    "resnet20": resnet20,
}
"""Each built-in architecture's factory; its argument is the number of classes."""

SCALABLE: Mapping[str, Callable[[int, float], nn.Module]] = {"mobilenet_v2": mobilenet_v2}
"""Those whose channels can be scaled, with the factor as a second argument."""

TWINS: Mapping[str, str] = {"torchvision:mobilenet_v2": "mobilenet_v2"}
"""The built-in architectures that are torchvision's own, name by name: they need no torchvision."""
