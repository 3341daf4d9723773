# SPDX-License-Identifier: Apache-2.0
"""The contract between the runner and a stage: what a stage is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from hsflow.data import Dataset, Reading
from hsflow.images import Geometry

T = TypeVar("T")


class StageKind(StrEnum):
    """Name the steps of a flow, in order."""

    LOAD = "load"
    PRUNE = "prune"
    QUANTIZE = "quantize"
    HARDEN = "harden"
    NPU = "npu"
    PACKAGE = "package"
    TARGET = "target"


class StageOptions(BaseModel):
    """Be the base of every stage's options: unknown keys are refused, values are frozen, fields carry descriptions."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InputFileMark:
    """Mark a path option whose content belongs to the stage's cache key."""


InputFile = Annotated[Path, InputFileMark()]
"""The type of an option that names a file: relative to flow.toml, resolved and digested by the runner."""


class ResourceMark:
    """Mark an option that changes how long a stage takes and not its result: it stays out of the stage's cache key."""


class FlowSettings(BaseModel):
    """Hold what all stages share: the `[flow]` table of flow.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """The design's name; becomes the top module's name."""
    data: str = "digits"
    """`digits`, or the path of an .npz file, or of a folder or .zip file of images (see `hsflow.data.load_dataset`)."""
    test_data: str | None = None
    """The held-out images, where `data` is a folder or .zip file; by default a share of that is held out."""
    held_out: float = 1 / 3
    """The share of `data` that is held out, where it is a folder or .zip file and there is no `test_data`."""
    resize: int | None = None
    """The pixels to which an image's shorter side is scaled."""
    crop: int | tuple[int, int] | None = None
    """The pixels, or (height, width), that are then cut from its centre."""
    seed: int = 1
    clock_mhz: float = 1000.0
    """The clock for which throughput is stated. Stages before `harden` see its default, whatever it is."""

    @property
    def geometry(self) -> Geometry:
        """Return how images become those of the network's size."""
        return Geometry(self.resize, (self.crop, self.crop) if isinstance(self.crop, int) else self.crop)

    @property
    def reading(self) -> Reading:
        """Return how files of images become the dataset."""
        return Reading(self.geometry, self.test_data, self.held_out)


class StageContext(Protocol):
    """Be what the runner gives to a running stage."""

    @property
    def settings(self) -> FlowSettings:
        """Return the flow's shared settings."""

    @property
    def dataset(self) -> Dataset:
        """Return the flow's images, loaded at first use."""

    @property
    def hooks(self) -> Any:
        """Return pluggy's hook relay, for stages that offer hooks of their own (`hsflow_lower_layer`)."""

    def portable_hook(self, name: str) -> Callable[..., Any] | None:
        """Return a hook that can be pickled and called in another process, by keywords and with the same outcome.

        None if one of its implementations is known to this process alone, as what was registered at run time.
        """

    def track(
        self, items: Iterable[T], description: str | Callable[[], str], total: int | None = None
    ) -> Iterable[T]:
        """Iterate over `items` behind a progress bar; a description that is a function is called after each item."""

    def record(self, name: str, value: int | float | str, *, unit: str = "", better: str = "") -> None:
        """Record a metric of this stage; `better` is "higher", "lower" or empty."""

    def log(self, message: str) -> None:
        """Show a line to the user (at -v and above)."""


class Stage(Protocol):
    """Be one step of a flow: a pure function of its input value, its options and the dataset.

    `run` takes the value that the stage before made (None for `load`) and returns a new one: `Network` after load and
    prune, `Graph` after quantize, `Design` after harden, npu and package. It never edits what it was given. It raises
    `HsflowError` for what the user can mend.

    What the result depends on must be in the cache key. The options, the files that they name and the source files of the
    stage's own package are; for the rest a stage may define

        builds_on: tuple[str, ...]      other packages or modules whose code the result depends on
        asks: tuple[str, ...]           hooks that it calls: whoever implements them joins the key
        fingerprint(options) -> str     anything else
    """

    kind: StageKind
    name: str
    version: str

    @property
    def options_model(self) -> type[StageOptions]:
        """Return the model that validates the options."""

    def run(self, value: Any, options: Any, context: StageContext) -> Any:
        """Return the stage's result."""


@dataclass(frozen=True)
class StageEvent:
    """Tell an observer what happens: which stage, with which cache key."""

    kind: StageKind
    name: str
    key: str
    cached: bool = False
    wall_seconds: float = 0.0
