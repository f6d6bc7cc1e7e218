"""A CPU that is used by accident."""

import jax
import pytest

from jaxalign.devices import platform
from jaxalign.errors import UserError


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    assert jax.default_backend() == "cpu"


def test_a_plain_cpu_machine(tmp_path):
    platform.check_platform(f"{tmp_path}/nvidia[0-9]*")


def test_a_gpu_that_jax_does_not_use(tmp_path, monkeypatch):
    (tmp_path / "nvidia0").touch()
    with pytest.raises(UserError, match=r"nvidia0\), but JAX runs on the CPU: .*JAX_PLATFORMS=cpu"):
        platform.check_platform(f"{tmp_path}/nvidia[0-9]*")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    platform.check_platform(f"{tmp_path}/nvidia[0-9]*")


def test_a_plug_in_without_its_device(tmp_path, monkeypatch):
    (tmp_path / "jax_cuda12_plugin.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="jax_cuda12_plugin is installed, but JAX finds no GPU"):
        platform.check_platform(f"{tmp_path}/nvidia[0-9]*")
