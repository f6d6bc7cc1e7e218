"""A run's folder: whatever goes wrong first is told, and cleaning up never takes its place."""

import errno
import os
import subprocess

import pytest

from jaxalign.errors import UserError
from jaxalign.run.workdir import Workdir

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Broken:
    """A tracker on a disk that is full."""

    def draw(self, record):
        raise FULL

    def show(self, ending):
        raise FULL

    def close(self, failed):
        raise FULL


def test_cleaning_up_does_not_mask_the_first_cause(tmp_path):
    with pytest.raises(UserError, match=r"^the first$"), Workdir(tmp_path) as workdir:
        workdir.add_tracker(Broken())
        workdir.begin(4)
        raise UserError("the first")
    with Workdir(tmp_path):  # and the folder was let go
        pass


def test_what_fails_in_cleaning_up_alone_is_told_once_all_is_closed(tmp_path):
    closed = []
    with (
        pytest.raises(UserError, match="cannot be written: No space left on device"),
        Workdir(tmp_path) as workdir,
    ):
        workdir.add_tracker(Broken())
        last = Broken()
        last.close = lambda failed: closed.append(failed)
        workdir.add_tracker(last)
    assert closed == [False]
    with Workdir(tmp_path):
        pass


@pytest.fixture
def small(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only a superuser may mount the small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_in_mid_run_is_told_in_one_line_and_nothing_hangs(small):
    """tensorboardX's own thread would end at the full disk, and the run would wait for it."""
    with pytest.raises(UserError) as told, Workdir(small) as workdir:
        workdir.begin(10_000)
        workdir.rewind_metrics(None)
        for generation in range(10_000):
            figures = {f"figure {number}": 1.0 for number in range(20)}
            workdir.append_metrics({"generation": generation, "seconds": 1.0, **figures})
    assert str(told.value).endswith("cannot be written: No space left on device")
