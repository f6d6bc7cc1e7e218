"""The chips that programs can be compiled for, by the names that --compile_for takes."""

import dataclasses
import importlib.util
import math
import os
from importlib import resources
from typing import Any

import yaml
from jax.experimental import topologies

from jaxalign.errors import UserError

# Or libtpu asks the cloud what machine this is, and allows one process at a time.
_QUIET = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
_NEEDED = {"tpu": ("libtpu", "compile-tpu"), "cuda": ("jax_cuda12_plugin", "compile-gpu")}


@dataclasses.dataclass(frozen=True)
class Target:
    """Devices of one kind.

    Attributes:
      name: as given.
      platform: `tpu` or `cuda`.
      memory: bytes of each; bandwidth: bytes/s of it.
      rates: operations/s of matrix products, by the type of their sides.
      clock: Hz of the cycles that XLA estimates; None where it estimates none.
      devices: JAX's.
    """

    name: str
    platform: str
    memory: int
    bandwidth: float
    rates: dict[str, float]
    clock: float | None
    devices: tuple[Any, ...]

    def rate(self, dtype: str) -> float:
        """Return the operations/s of products of a type; bfloat16's where it has none of its own.

        Of float32 it is a sixth: a product of full precision is made of six bfloat16 ones.
        """
        return self.rates.get(dtype, self.rates["bf16"] / (6 if dtype == "f32" else 1))


def _read() -> dict[str, Any]:
    return yaml.safe_load(resources.files(__package__).joinpath("chips.yaml").read_text("utf-8"))


def find_target(name: str) -> Target:
    """Return the devices that `--compile_for=NAME` means, such as v5e:2x2, v5p:2x2x1 or h100:8.

    Raises:
      UserError: there is no such chip or topology, or the compiler for it is not installed.
    """
    chips = _read()
    kind, _, shape = name.partition(":")
    known = [each for each in chips if not each.startswith(".")]
    flag = f"--compile_for={name}"
    if kind not in known:
        raise UserError(f"{flag}: no such chip; give {', '.join(known)}, such as v5e:2x2 or h100:8")
    if os.environ.get("JAX_PLATFORMS") != "cpu":
        raise UserError(f"{flag}: set JAX_PLATFORMS=cpu in the environment: no device is used")
    chip = chips[kind]
    platform = chip["platform"]
    sizes = shape.split("x") if shape else ["1"]
    if not all(size.isdigit() and int(size) for size in sizes):
        raise UserError(f"{flag}: write the devices as a grid, such as {kind}:2x2")
    package, extra = _NEEDED[platform]
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{flag}: needs {package}; pip install 'jaxalign[{extra}]'")
    count = math.prod(map(int, sizes))
    if platform == "cuda":
        about = {
            "topology": f"1x1x{count}",
            "target_config": _target_config(chip, chips[".hopper"]),
        }
    else:
        for key, value in _QUIET.items():
            os.environ.setdefault(key, value)
        about = {}
        shape = chip["host"] if count <= 4 else shape  # of which the first devices are used
    try:
        found = topologies.get_topology_desc(
            platform=platform, topology_name=f"{kind}:{shape}", **about
        )
    except Exception as error:  # whatever the plug-in raises
        first = str(error).partition("\n")[0]
        raise UserError(f"{flag}: there is no such topology ({first})") from error
    return Target(
        name=name,
        platform=platform,
        memory=int(chip["memory"]),
        bandwidth=chip["bandwidth"],
        rates=chip["rates"],
        clock=chip.get("clock"),
        devices=tuple(found.devices[:count]),
    )


def _target_config(chip: dict[str, Any], shared: dict[str, Any]) -> str:
    """Return a GPU's description in XLA's text format."""
    numbers = shared | {
        "device_memory_size": chip["memory"],
        "memory_bandwidth": chip["bandwidth"],
    }
    lines = [f"  {key}: {value}" for key, value in numbers.items()]
    return "\n".join(
        (
            "gpu_device_info {",
            *lines,
            "  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }",
            '  runtime_version: "12.8.0" driver_version: "13.0.0" dnn_version: "9.10.0"',
            "}",
            'platform_name: "CUDA"',
            "dnn_version_info { major: 9 minor: 10 }",
            f'device_description_str: "{chip["kind"]}"',
        )
    )
