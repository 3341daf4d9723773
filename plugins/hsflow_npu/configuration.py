# SPDX-License-Identifier: Apache-2.0
"""The parameters of one NPU and everything that follows from them: cycles, addresses, memory bits."""

from __future__ import annotations

from dataclasses import dataclass

from hsflow.errors import ModelError

_REGISTER_WINDOW = 4096
_WORD_BYTES = 4
_MAX_ACTIVATION_WIDTH = 16
MAX_LANES = 0xFFFF
"""The most lanes of a kind: the LANES register has 16 bits for each."""
_MAX_CLASSES = 0x10000
_MAX_ADDRESS_WIDTH = 32
# Input buffer, weight memory, product, accumulator, drain row, logit, output register; less one
# because the first group of features is counted by `groups`.
_PIPELINE_CYCLES = 6


def _ceil_log2(value: int) -> int:
    return (value - 1).bit_length()


def ceil_div(value: int, divisor: int) -> int:
    """Return `value / divisor`, rounded up."""
    return -(-value // divisor)


@dataclass(frozen=True)
class NpuConfiguration:
    """Describe one NPU: a dense layer of `tokens * channels` features and `classes` classes.

    `class_lanes * feature_lanes` multipliers work at once, and `logit_lanes` logits leave in one beat. Activations are
    integers of `activation_width` bits (1 to 16). Raises ModelError for a value out of its range.
    """

    tokens: int
    channels: int
    classes: int
    class_lanes: int
    feature_lanes: int
    activation_width: int = 8
    activation_signed: bool = False
    logit_lanes: int = 1

    def __post_init__(self) -> None:
        self._check("tokens", self.tokens, 1 << 31)
        self._check("channels", self.channels, 1 << 31)
        self._check("classes", self.classes, _MAX_CLASSES)
        self._check("class_lanes", self.class_lanes, min(self.classes, MAX_LANES))
        self._check("feature_lanes", self.feature_lanes, min(self.features, MAX_LANES))
        self._check("logit_lanes", self.logit_lanes, MAX_LANES)
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
        logit_lanes: int = 1,
    ) -> NpuConfiguration:
        """Spend at most `lanes` multipliers, on classes first and then on features.

        Class lanes share one activation and need no adder tree, so they are the cheaper ones.
        """
        cls._check("lanes", lanes, MAX_LANES * MAX_LANES)
        class_lanes = min(lanes, classes, MAX_LANES)
        feature_lanes = max(1, min(lanes // max(class_lanes, 1), tokens * channels, MAX_LANES))
        array = (class_lanes, feature_lanes, activation_width, activation_signed, logit_lanes)
        return cls(tokens, channels, classes, *array)

    # Sizes.

    @property
    def features(self) -> int:
        """Activations of an image."""
        return self.tokens * self.channels

    @property
    def tiles(self) -> int:
        """Tiles of `class_lanes` classes; the last one may be partly empty."""
        return ceil_div(self.classes, self.class_lanes)

    @property
    def groups(self) -> int:
        """Groups of `feature_lanes` features; the last one may be partly empty."""
        return ceil_div(self.features, self.feature_lanes)

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
        return ceil_div(_ceil_log2(self.feature_lanes), 2)

    @property
    def beats(self) -> int:
        """Beats in which an image's logits leave; the last one may be partly empty."""
        return ceil_div(self.classes, self.logit_lanes)

    @property
    def argmax_stages(self) -> int:
        """Register stages of the tree that finds a beat's largest logit: ceil(log4(logit_lanes))."""
        return ceil_div(_ceil_log2(self.logit_lanes), 2)

    @property
    def rows_end_inside_beats(self) -> bool:
        """Tell whether a beat can have logits of two tiles, which then takes another register stage."""
        return self.tiles > 1 and self.class_lanes % self.logit_lanes != 0

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
    def tile_interval(self) -> int:
        """Cycles from one tile to the next: its logits leave while the next tile is computed, so the longer of both."""
        return max(self.groups, ceil_div(self.class_lanes, self.logit_lanes))

    @property
    def last_tile_beats(self) -> int:
        """Cycles in which the last tile's logits leave, those of an unfinished beat before them included."""
        return self.beats - (self.tiles - 1) * self.class_lanes // self.logit_lanes

    @property
    def drain_interval(self) -> int:
        """Least cycles between two images, as far as computation and the leaving of logits go."""
        return (self.tiles - 1) * self.tile_interval + max(self.groups, self.last_tile_beats)

    @property
    def initiation_interval(self) -> int:
        """Least cycles between two images: one vector is taken and one beat of logits is sent a cycle."""
        return max(self.tokens, self.drain_interval)

    @property
    def _drain_latency(self) -> int:
        """Cycles from the transfer of an image's last vector to the output of its first tile's first chunk."""
        stages = self.tree_stages + self.argmax_stages + int(self.rows_end_inside_beats)
        return self.groups + stages + _PIPELINE_CYCLES

    @property
    def first_logit_latency(self) -> int:
        """Cycles from the transfer of an image's last vector to `valid_o` of its first beat (idle NPU)."""
        tiles_before = min(self.tiles, ceil_div(self.logit_lanes, self.class_lanes)) - 1
        return self._drain_latency + tiles_before * self.tile_interval

    @property
    def last_logit_latency(self) -> int:
        """Cycles from the transfer of an image's last vector to that of its last beat (idle NPU)."""
        return self._drain_latency + (self.tiles - 1) * self.tile_interval + self.last_tile_beats - 1

    # Memory map, in bytes.

    @property
    def row_words(self) -> int:
        """32-bit words of one row of weights."""
        return ceil_div(self.multipliers, _WORD_BYTES)

    @property
    def row_stride(self) -> int:
        """Bytes from a row of weights to the next, a power of two."""
        return _WORD_BYTES << _ceil_log2(self.row_words)

    @property
    def bias_stride(self) -> int:
        """Bytes from a beat's biases to the next one's, a power of two."""
        return _WORD_BYTES << _ceil_log2(self.logit_lanes)

    @property
    def bias_base(self) -> int:
        """Address of the first bias, a power of two."""
        return max(_REGISTER_WINDOW, self.bias_stride << _ceil_log2(self.beats))

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
        beat, lane = divmod(class_index, self.logit_lanes)
        return self.bias_base + beat * self.bias_stride + _WORD_BYTES * lane

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
        """Bits of the registers that grow with the layer: input twice, sums twice, beats of logits on their way."""
        padded = self.groups * self.feature_lanes
        beats = 3 + self.argmax_stages + 2 * int(self.rows_end_inside_beats)
        sums = 2 * self.class_lanes + beats * self.logit_lanes
        return (self.features + padded) * self.activation_width + 32 * sums

    def rtl_parameters(self) -> dict[str, int]:
        """Parameters of the module `hsflow_npu`, by their names."""
        return {
            "Tokens": self.tokens,
            "Channels": self.channels,
            "Classes": self.classes,
            "ClassLanes": self.class_lanes,
            "FeatureLanes": self.feature_lanes,
            "LogitLanes": self.logit_lanes,
            "ActivationWidth": self.activation_width,
            "ActivationSigned": int(self.activation_signed),
        }
