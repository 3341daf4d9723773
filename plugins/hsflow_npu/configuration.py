# SPDX-License-Identifier: Apache-2.0
"""The parameters of one NPU and everything that follows from them: cycles, addresses, memory bits."""

from __future__ import annotations

from dataclasses import dataclass

from hsflow.errors import ModelError

_REGISTER_WINDOW = 4096
_WORD_BYTES = 4
_MAX_ACTIVATION_WIDTH = 16
_MAX_LANES = 0xFFFF
_MAX_CLASSES = 0x10000
_MAX_ADDRESS_WIDTH = 32
# Input buffer, weight memory, product, accumulator, drain row, logit, output register; less one
# because the first group of features is counted by `groups`.
_PIPELINE_CYCLES = 6


def _ceil_log2(value: int) -> int:
    return (value - 1).bit_length()


def _ceil_div(value: int, divisor: int) -> int:
    return -(-value // divisor)


@dataclass(frozen=True)
class NpuConfiguration:
    """Describe one NPU: a dense layer of `tokens * channels` features and `classes` classes.

    `class_lanes * feature_lanes` multipliers work at once. Activations are integers of
    `activation_width` bits (1 to 16). Raises ModelError for a value out of its range.
    """

    tokens: int
    channels: int
    classes: int
    class_lanes: int
    feature_lanes: int
    activation_width: int = 8
    activation_signed: bool = False

    def __post_init__(self) -> None:
        self._check("tokens", self.tokens, 1 << 31)
        self._check("channels", self.channels, 1 << 31)
        self._check("classes", self.classes, _MAX_CLASSES)
        self._check("class_lanes", self.class_lanes, min(self.classes, _MAX_LANES))
        self._check("feature_lanes", self.feature_lanes, min(self.features, _MAX_LANES))
        self._check("activation_width", self.activation_width, _MAX_ACTIVATION_WIDTH)
        self._check("address_width", self.address_width, _MAX_ADDRESS_WIDTH)

    @staticmethod
    def _check(name: str, value: int, highest: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= highest:
            raise ModelError(
                f"the NPU's {name} is out of range",
                where="npu",
                got=repr(value),
                expected=f"an integer from 1 to {highest}",
            )

    @classmethod
    def from_lanes(
        cls,
        lanes: int,
        *,
        tokens: int,
        channels: int,
        classes: int,
        activation_width: int = 8,
        activation_signed: bool = False,
    ) -> NpuConfiguration:
        """Spend at most `lanes` multipliers, on classes first and then on features.

        Class lanes share one activation and need no adder tree, so they are the cheaper ones.
        """
        cls._check("lanes", lanes, _MAX_LANES * _MAX_LANES)
        class_lanes = min(lanes, classes, _MAX_LANES)
        feature_lanes = max(1, min(lanes // max(class_lanes, 1), tokens * channels, _MAX_LANES))
        return cls(tokens, channels, classes, class_lanes, feature_lanes, activation_width, activation_signed)

    # Sizes.

    @property
    def features(self) -> int:
        """Activations of an image."""
        return self.tokens * self.channels

    @property
    def tiles(self) -> int:
        """Tiles of `class_lanes` classes; the last one may be partly empty."""
        return _ceil_div(self.classes, self.class_lanes)

    @property
    def groups(self) -> int:
        """Groups of `feature_lanes` features; the last one may be partly empty."""
        return _ceil_div(self.features, self.feature_lanes)

    @property
    def last_tile_classes(self) -> int:
        """Classes of the last tile, 1 to `class_lanes`."""
        return self.classes - (self.tiles - 1) * self.class_lanes

    @property
    def multipliers(self) -> int:
        """Multipliers of the array."""
        return self.class_lanes * self.feature_lanes

    @property
    def tree_stages(self) -> int:
        """Register stages of each class lane's adder tree: ceil(log4(feature_lanes))."""
        return _ceil_div(_ceil_log2(self.feature_lanes), 2)

    @property
    def activation_minimum(self) -> int:
        """Lowest value of an activation."""
        return -(1 << (self.activation_width - 1)) if self.activation_signed else 0

    @property
    def activation_maximum(self) -> int:
        """Highest value of an activation."""
        return (1 << (self.activation_width - int(self.activation_signed))) - 1

    # Cycles. Exact for an input that always has the next vector and an output that is always ready.

    @property
    def compute_cycles(self) -> int:
        """Cycles for which one image occupies the array."""
        return self.tiles * self.groups

    @property
    def drain_interval(self) -> int:
        """Least cycles between two images, as far as computation and the leaving of logits go.

        A tile's logits leave while the next tile is computed, so each tile costs the longer of both.
        """
        inner = (self.tiles - 1) * max(self.groups, self.class_lanes)
        return inner + max(self.groups, self.last_tile_classes)

    @property
    def initiation_interval(self) -> int:
        """Least cycles between two images: one vector is taken and one logit is sent a cycle."""
        return max(self.tokens, self.drain_interval)

    @property
    def first_logit_latency(self) -> int:
        """Cycles from the transfer of an image's last vector to `valid_o` of its first logit (idle NPU)."""
        return self.groups + self.tree_stages + _PIPELINE_CYCLES

    @property
    def last_logit_latency(self) -> int:
        """Cycles from the transfer of an image's last vector to that of its last logit (idle NPU)."""
        inner = (self.tiles - 1) * max(self.groups, self.class_lanes)
        return self.first_logit_latency + inner + self.last_tile_classes - 1

    # Memory map, in bytes.

    @property
    def row_words(self) -> int:
        """32-bit words of one row of weights."""
        return _ceil_div(self.multipliers, _WORD_BYTES)

    @property
    def row_stride(self) -> int:
        """Bytes from a row of weights to the next, a power of two."""
        return _WORD_BYTES << _ceil_log2(self.row_words)

    @property
    def bias_base(self) -> int:
        """Address of the first bias, a power of two."""
        return max(_REGISTER_WINDOW, _WORD_BYTES << _ceil_log2(self.classes))

    @property
    def weight_base(self) -> int:
        """Address of the first row of weights, a power of two."""
        return max(2 * self.bias_base, self.row_stride << _ceil_log2(self.compute_cycles))

    @property
    def address_width(self) -> int:
        """Address bits that reach the whole memory map."""
        return _ceil_log2(2 * self.weight_base)

    def bias_address(self, class_index: int) -> int:
        """Address of one class's bias."""
        return self.bias_base + _WORD_BYTES * class_index

    def weight_address(self, class_index: int, feature: int) -> int:
        """Byte address of one weight."""
        tile, lane = divmod(class_index, self.class_lanes)
        group, position = divmod(feature, self.feature_lanes)
        row = tile * self.groups + group
        return self.weight_base + row * self.row_stride + lane * self.feature_lanes + position

    @property
    def memory_bits(self) -> int:
        """Bits of the weight and bias memories."""
        return self.compute_cycles * self.multipliers * 8 + self.classes * 32

    @property
    def register_bits(self) -> int:
        """Bits of the buffers and accumulators that grow with the layer: input twice, sums twice."""
        padded = self.groups * self.feature_lanes
        return (self.features + padded) * self.activation_width + 2 * 32 * self.class_lanes

    def rtl_parameters(self) -> dict[str, int]:
        """Parameters of the module `hsflow_npu`, by their names."""
        return {
            "Tokens": self.tokens,
            "Channels": self.channels,
            "Classes": self.classes,
            "ClassLanes": self.class_lanes,
            "FeatureLanes": self.feature_lanes,
            "ActivationWidth": self.activation_width,
            "ActivationSigned": int(self.activation_signed),
        }
