# SPDX-License-Identifier: Apache-2.0
"""Compiled code: it becomes stale with any module of its package, and where it cannot be kept it works all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hsflow_cmvm.compiled
import pytest

CALLER = """
from toy.{module} import {decorator} as compiled
from toy.inner import number

@compiled
def outer():
    return number() + 1
"""
PLAIN = """
from numba import njit
kept = njit(cache=True)
"""


def inner(number: int) -> str:
    return f"from toy.compiled import compiled\n\n@compiled\ndef number():\n    return {number}\n"


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Install a package of its own with the optimizer's decorators."""
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "__init__.py").touch()
    shutil.copy(hsflow_cmvm.compiled.__file__, folder)
    (folder / "plain.py").write_text(PLAIN)
    (folder / "caller.py").write_text(CALLER.format(module="compiled", decorator="compiled"))
    (folder / "inner.py").write_text(inner(1))
    return folder


def call(toy: Path, **settings: str) -> list[str]:
    """Return what the function gives in a process of its own, and how often it was found compiled."""
    code = "from toy.caller import outer; print(outer(), sum(outer.stats.cache_hits.values()))"
    environment = {**os.environ, "PYTHONPATH": str(toy.parent), **settings}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_compiled_code_is_kept_until_any_module_changes(toy: Path) -> None:
    assert call(toy) == ["2", "0"]
    assert call(toy) == ["2", "1"]
    (toy / "inner.py").write_text(inner(7))
    assert call(toy) == ["8", "0"]
    assert call(toy) == ["8", "1"]


def test_numba_alone_does_not_see_the_change(toy: Path) -> None:
    (toy / "caller.py").write_text(CALLER.format(module="plain", decorator="kept"))
    assert call(toy) == ["2", "0"]
    (toy / "inner.py").write_text(inner(7))
    assert call(toy) == ["2", "1"]


def test_where_nothing_can_be_written_it_is_compiled_each_time(toy: Path) -> None:
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": "/dev/null/none"}
    assert call(toy, **nowhere) == call(toy, **nowhere) == ["2", "0"]
    assert not list(toy.rglob("*.nbi"))


def test_a_folder_of_the_users_own_is_used(toy: Path, tmp_path: Path) -> None:
    assert call(toy, NUMBA_CACHE_DIR=str(tmp_path / "kept")) == ["2", "0"]
    assert list((tmp_path / "kept").rglob("*.nbi"))
    assert not list(toy.rglob("*.nbi"))
