# SPDX-License-Identifier: Apache-2.0
"""What all tests share: golden files and the option that writes them anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"

Golden = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--refresh-golden`."""
    parser.addoption(
        "--refresh-golden", action="store_true", help="write the golden files anew, then review the diff"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a text with the golden file of that name, byte for byte, or write it under `--refresh-golden`."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--refresh-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        assert path.is_file(), f"{path} is missing: run pytest --refresh-golden"
        assert path.read_bytes() == text.encode(), (
            f"{path} differs: run pytest --refresh-golden, review the diff"
        )

    return compare
