"""What is opened: regular files only, at most as large as asked."""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path

import pytest

from pointae.storage import UnfitFileError, check_regular, open_regular, read_bounded

unix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes, sockets and devices have names on Unix only")


@unix
def test_pipes_sockets_devices_and_folders_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name has at most 107 bytes
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    os.symlink("pipe", "link")
    Path("folder").mkdir()
    kinds = {"pipe": "a pipe", "link": "a pipe", "socket": "a socket", "folder": "a folder", "/dev/zero": "a device"}
    for name, kind in kinds.items():
        for opens in (check_regular, open_regular, partial(read_bounded, most=9)):
            with pytest.raises(UnfitFileError, match=f"is {kind}, not a regular file"):
                opens(name)


@unix
def test_a_pipe_that_takes_the_place_of_a_file_makes_no_one_wait(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a")
    monkeypatch.setattr("pointae.storage.check_regular", lambda path: None)
    with open_regular(tmp_path / "a") as file:
        assert file.read() == b""


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_names_that_no_file_can_have(name):
    with pytest.raises(UnfitFileError, match="no name that a file can have"):
        open_regular(name)


def test_a_file_is_read_whole_up_to_a_size(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(range(100)))
    assert read_bounded(path, 100) == bytes(range(100))
    with pytest.raises(UnfitFileError, match="holds 100 bytes, at most 99 are read"):
        read_bounded(path, 99)
    assert read_bounded(__file__, 1 << 20) == Path(__file__).read_bytes()
