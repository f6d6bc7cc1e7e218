"""Soft prompts from files: those of our runs, of PEFT's prompt tuning, and numpy's."""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from jaxalign.errors import UserError
from jaxalign.files import explain
from jaxalign.interchange import adapter

TENSOR = "prompt_embeddings"  # as our runs and PEFT's prompt tuning name it
RESULT, ARRAY = "soft_prompt.safetensors", "soft_prompt.npy"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_READ = (
    "give a .safetensors or .npy file, the folder of a PEFT prompt-tuning adapter, or the workdir "
    "of a finished run"
)


def read_soft_prompt(
    path: str | Path,
    name: str = "",
    length: int | None = None,
    width: int | None = None,
    model: str = "",
) -> np.ndarray:
    """Read one soft prompt as float32 [L, D].

    Args:
      path: a .safetensors file with the tensor `prompt_embeddings`, a .npy file, the folder of a
        PEFT prompt-tuning adapter, or a run's workdir.
      name: of the key or flag that gave the path, for messages.
      length: L that it must have, as `prompt.length` has it; None for any.
      width: D that it must have, the model's; None for any.
      model: `model.path`; that an adapter was made for another one is a warning.

    Raises:
      UserError: nothing there can be read, it is no soft prompt or an adapter of another kind, or
        it is of another shape or type, or has values that are not finite.
    """
    where = _named(path, name)
    file = prompt_file(path, name)
    if file.suffix == ".npy":
        return _checked(f"{where}: the array", _read_array(file, where), "[L, D]", length, width)
    described = adapter.Described()
    if file != Path(os.path.expanduser(path)) and file.name == adapter.WEIGHTS:
        described = adapter.read_adapter_config(file.with_name(adapter.CONFIG), where)
        adapter.warn_of_other_base(described.base, model, where)
    tensors = _read_tensors(file, where)
    if TENSOR not in tensors:
        held = ", ".join(sorted(tensors)) or "nothing"
        raise UserError(f"{where}: it must hold a tensor {TENSOR!r}, and holds {held}")
    rows_LD = adapter.rows_of(tensors, TENSOR, where)
    prompt_LD = _checked(f"{where}: {TENSOR}", rows_LD, "[L, D]", length, width)
    shape = [described.rows, described.width]
    for size, said in zip(prompt_LD.shape, shape, strict=True):
        if said not in (size, None):
            raise UserError(
                f"{where}: {adapter.CONFIG} says {shape} and {adapter.WEIGHTS} holds "
                f"{list(prompt_LD.shape)} rows and columns; one of them is of another adapter"
            )
    return prompt_LD


def prompt_file(path: str | Path, name: str = "") -> Path:
    """Return the file that holds a path's soft prompt: the path itself, or the one in a folder.

    Args:
      path: as `read_soft_prompt` takes it.
      name: of the key or flag that gave the path, for messages.

    Raises:
      UserError: the path is a pickle, or a folder without a soft prompt.
    """
    where, given = _named(path, name), Path(os.path.expanduser(path))
    if given.suffix in _PICKLES and not given.is_dir():
        raise UserError(f"{where}: is a pickle, which may run code and is never opened; {_READ}")
    if not given.is_dir():
        return given
    if (given / adapter.CONFIG).is_file():
        if (given / adapter.WEIGHTS).is_file():
            return given / adapter.WEIGHTS
        pickle = ""
        if (given / adapter.PICKLE).is_file():
            pickle = f", and {adapter.PICKLE} is a pickle, which may run code and is never opened"
        raise UserError(
            f"{where}: {adapter.WEIGHTS} is missing{pickle}; save the adapter with PEFT's "
            "save_pretrained(folder, safe_serialization=True)"
        )
    for file in (RESULT, ARRAY):
        if (given / file).is_file():
            return given / file
    places = sorted(found.parent for found in given.glob(f"countries/*/{RESULT}"))
    if places:
        codes = ", ".join(place.name for place in places)
        raise UserError(f"{where}: it holds several countries ({codes}); give {places[0]}")
    raise UserError(f"{where}: the folder holds no soft prompt; {_READ}")


def read_population(path: str | Path, name: str, length: int, width: int) -> np.ndarray:
    """Read all tensors [P, L, D] of a safetensors file as one float32 [sum of P, L, D].

    Args:
      path: the file; its tensors are taken in the order of their names.
      name: of the key or flag that gave the path, for messages.
      length: L, as `prompt.length` has it.
      width: D, the model's.

    Raises:
      UserError: the file cannot be read or holds nothing, or a tensor is of another shape or type,
        or has values that are not finite.
    """
    where = _named(path, name)
    tensors = _read_tensors(Path(os.path.expanduser(path)), where)
    if not sum(tensor.size for tensor in tensors.values()):
        raise UserError(f"{where}: it holds no prompts")
    return np.concatenate(
        [
            _checked(f"{where}: {key}", tensor, "[P, L, D]", length, width)
            for key, tensor in sorted(tensors.items())
        ]
    )


def _named(path: str | Path, name: str) -> str:
    return f"{name}={str(path)!r}" if name else str(path)


def _read_tensors(file: Path, where: str) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(file)
    except (OSError, RuntimeError, ValueError, KeyError, safetensors.SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        reason = explain(file, reason)
        raise UserError(f"{where}: cannot read it ({reason}); {_READ}") from error


def _read_array(file: Path, where: str) -> np.ndarray:
    try:
        with file.open("rb") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        reason = explain(file, reason)
        raise UserError(f"{where}: cannot read it ({reason}); {_READ}") from error


def _checked(
    where: str, tensor: np.ndarray, form: str, length: int | None, width: int | None
) -> np.ndarray:
    """Return the tensor as float32 after checking its rank, L rows, width D and values."""
    real = jnp.issubdtype(tensor.dtype, jnp.floating)  # knows bfloat16, which numpy does not
    if tensor.ndim != form.count(",") + 1 or 0 in tensor.shape or not real:
        raise UserError(
            f"{where} must be real numbers of shape {form}, not {tensor.dtype} of shape "
            f"{list(tensor.shape)}"
        )
    rows, columns = tensor.shape[-2:]
    if width not in (columns, None):
        raise UserError(
            f"{where} is {columns} wide and the model {width}; give prompts that were made for "
            "this model"
        )
    if length not in (rows, None):
        raise UserError(
            f"{where} has {rows} rows and prompt.length is {length}; set prompt.length={rows}"
        )
    with np.errstate(over="ignore"):  # a float64 beyond float32's range is caught below
        narrowed = tensor.astype(np.float32)
    if not np.isfinite(narrowed).all():
        raise UserError(f"{where} holds values that are not finite in float32")
    return narrowed
