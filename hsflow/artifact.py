# SPDX-License-Identifier: Apache-2.0
"""Artefacts: what one stage made, with the manifest that proves it whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hsflow.errors import StoreError
from hsflow.metrics import Metric

FORMAT = 1
MANIFEST = "manifest.json"
VALUE = "value.json"
_HEX = "0123456789abcdef"


def canonical_json(data: Any) -> str:
    """Return `data` as JSON with sorted keys, no white space and no number that is not finite."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(data: bytes | str) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_digest(text: str) -> bool:
    """Tell whether `text` is a SHA-256 in lower-case hexadecimal, and so safe as a file name."""
    return len(text) == 64 and set(text) <= set(_HEX)


class Manifest(BaseModel):
    """Hold what is known about an artefact; the last file of it to be written.

    `files` gives the SHA-256 of each file, `inputs` the SHA-256 of the values that the stage was given, `versions` the
    distributions that made it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int = FORMAT
    key: str
    stage: str
    files: dict[str, str] = Field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    metrics: dict[str, Metric] = Field(default_factory=dict)
    wall_seconds: float = 0.0
    versions: dict[str, str] = Field(default_factory=dict)

    def to_json(self) -> str:
        """Return the manifest's canonical text, sealed by its own digest."""
        body = self.model_dump(mode="json")
        return canonical_json({"manifest": body, "sha256": digest(canonical_json(body))}) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Return the manifest that `text` holds.

        Raises:
            StoreError: if it is damaged, or of another format.
        """
        try:
            sealed = json.loads(text)
            body = canonical_json(sealed["manifest"])
            if sealed["sha256"] != digest(body) or sealed["manifest"]["format"] != FORMAT:
                raise ValueError("its seal is broken or its format is another")
            return cls.model_validate_json(body)
        except (ValueError, KeyError, TypeError, RecursionError, ValidationError) as error:
            raise StoreError("a manifest is damaged", got=error, expected=f"format {FORMAT}") from error


@dataclass(frozen=True)
class Artifact:
    """Name one finished entry of the store; its files are read only when asked for."""

    folder: Path
    manifest: Manifest
    cached: bool = field(default=True, compare=False)

    @property
    def key(self) -> str:
        """Return the cache key."""
        return self.manifest.key

    @property
    def value_digest(self) -> str:
        """Return the SHA-256 of the stage's value."""
        return self.manifest.files[VALUE]

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Return what the stage recorded."""
        return self.manifest.metrics

    def read(self, name: str = VALUE) -> bytes:
        """Return a file's content.

        Raises:
            StoreError: if the file is gone or differs from the manifest.
        """
        path = self.folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError("an artefact's file cannot be read", where=str(path), got=error) from error
        if digest(content) != self.manifest.files[name]:
            raise StoreError(
                "an artefact's file is damaged", where=str(path), hint="run again: the stage is then rebuilt"
            )
        return content
