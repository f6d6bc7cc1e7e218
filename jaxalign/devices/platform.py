"""Whether JAX runs where the user means it to."""

import glob
import importlib.util
import os

import jax

from jaxalign.errors import UserError

_PLUGINS = {"jax_cuda12_plugin": "GPU", "jax_cuda13_plugin": "GPU", "libtpu": "TPU"}
_ANYWAY = "JAX_PLATFORMS=cpu in the environment runs there anyway"


def check_platform(nodes: str = "/dev/nvidia[0-9]*") -> None:
    """Refuse a CPU that is used by accident: a large model would take days there.

    Args:
      nodes: pattern of the device nodes of NVIDIA's driver.

    Raises:
      UserError: JAX has only a CPU, although the machine has a GPU or a plug-in for an accelerator
        is installed, and JAX_PLATFORMS does not ask for it.
    """
    if os.environ.get("JAX_PLATFORMS") or jax.default_backend() != "cpu":
        return
    if found := glob.glob(nodes):
        raise UserError(
            f"this machine has an NVIDIA GPU ({found[0]}), but JAX runs on the CPU: pip install "
            f"'jaxalign[cuda]'; {_ANYWAY}"
        )
    for plugin, device in _PLUGINS.items():
        if importlib.util.find_spec(plugin):
            raise UserError(
                f"{plugin} is installed, but JAX finds no {device} and runs on the CPU: "
                f"see that the driver works and no other program holds the device; {_ANYWAY}"
            )
