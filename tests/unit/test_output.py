# SPDX-License-Identifier: Apache-2.0
"""The output folder: complete or recognizably not, and nobody else's files touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsflow.design import DesignFile, FileRole
from hsflow.errors import HsflowError, PluginError
from hsflow.output import BUILD_RECORD, LOCK, check_complete, read_record, write_output


def files(**contents: str) -> list[DesignFile]:
    return [DesignFile(name.replace("__", "/"), text, FileRole.RTL) for name, text in contents.items()]


def tree(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in (BUILD_RECORD, LOCK)]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def test_files_are_written_replaced_and_removed(tmp_path: Path) -> None:
    out = tmp_path / "build"
    write_output(out, files(a="1", rtl__deep__b="2", rtl__c="3"))
    check_complete(out)
    assert tree(out) == {"a": "1", "rtl/deep/b": "2", "rtl/c": "3"}
    assert write_output(out, files(a="1", rtl__c="4")) == [out / "rtl/c"]
    assert tree(out) == {"a": "1", "rtl/c": "4"}
    assert not (out / "rtl/deep").exists()


def test_an_identical_build_touches_nothing(tmp_path: Path) -> None:
    write_output(tmp_path, files(a="1"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert write_output(tmp_path, files(a="1")) == []
    assert {path: path.stat().st_mtime_ns for path in before if path.name != LOCK} == {
        path: time for path, time in before.items() if path.name != LOCK
    }


def test_strange_files_stay(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    write_output(tmp_path, files(a="1"))
    write_output(tmp_path, files(b="1"))
    assert tree(tmp_path) == {"notes": "mine", "b": "1"}


@pytest.mark.parametrize("how", ["edited", "strange", "link", "folder", "edited and stale"])
def test_what_is_not_ours_is_not_overwritten(tmp_path: Path, how: str) -> None:
    (tmp_path / "target").write_text("precious")
    new = files(a="2")
    match how:
        case "edited":
            write_output(tmp_path, files(a="1"))
            (tmp_path / "a").write_text("edited")
        case "strange":
            (tmp_path / "a").write_text("strange")
        case "link":
            (tmp_path / "a").symlink_to(tmp_path / "target")
        case "folder":
            (tmp_path / "a").mkdir()
        case _:
            write_output(tmp_path, files(a="1"))
            (tmp_path / "a").write_text("edited")
            new = files(b="2")
    before = tree(tmp_path)
    with pytest.raises(HsflowError, match="--overwrite"):
        write_output(tmp_path, new)
    assert tree(tmp_path) == before


def test_overwrite_overwrites_the_link_not_its_target(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "a").symlink_to(tmp_path / "target")
    write_output(tmp_path, files(a="2"), overwrite=True)
    assert tree(tmp_path) == {"target": "precious", "a": "2"}


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/etc/x",
        "a/../../x",
        "",
        ".",
        "a//b",
        "a/./b",
        "C:x",
        "a\\b",
        "a\0b",
        "a\nb",
        BUILD_RECORD,
        f"{LOCK}",
    ],
    ids=ascii,
)
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(PluginError, match="leave the output folder"):
        write_output(tmp_path / "out", [DesignFile(path, "x", FileRole.DATA)])
    assert tree(tmp_path) == {}


def test_a_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "rtl").symlink_to(tmp_path / "outside")
    with pytest.raises(HsflowError, match="leads out"):
        write_output(tmp_path / "out", files(rtl__a="x"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_two_files_of_one_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="one path"):
        write_output(tmp_path, [*files(a="1"), *files(a="2")])


@pytest.mark.parametrize(
    "text", ["", "{}", '{"format": 1, "files": {"../../x": []}}', '{"format": 2}', "[" * 9000]
)
def test_a_record_that_is_not_ours_counts_for_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / BUILD_RECORD).write_text(text)
    record = read_record(tmp_path)
    assert record is None or not record.complete
    with pytest.raises(HsflowError, match="no finished build"):
        check_complete(tmp_path)
