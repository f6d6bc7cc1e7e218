"""Soft prompts from files, for a search that goes on from them."""

from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from jaxalign.errors import UserError

TENSOR = "prompt_embeddings"  # as our runs and PEFT's prompt tuning name it


def read_prompt(path: str | Path, length: int, width: int) -> np.ndarray:
    """Reads the tensor `prompt_embeddings` of a safetensors file as float32 [L, D].

    Args:
      path: a run's `soft_prompt.safetensors`, or the weights of a PEFT prompt-tuning adapter.
      length: L, as `prompt.length` has it.
      width: D, the model's.

    Raises:
      UserError: the file cannot be read, lacks the tensor, or holds one of another shape or type,
        or one with values that are not finite.
    """
    where, tensors = _read(path)
    if TENSOR not in tensors:
        held = ", ".join(sorted(tensors)) or "nothing"
        raise UserError(f"{where}: it must hold a tensor {TENSOR!r}, and holds {held}")
    return _checked(f"{where}: {TENSOR}", tensors[TENSOR], "[L, D]", length, width)


def read_population(path: str | Path, length: int, width: int) -> np.ndarray:
    """Reads all tensors [P, L, D] of a safetensors file as one float32 [sum of P, L, D].

    Args:
      path: the file; its tensors are taken in the order of their names.
      length: L, as `prompt.length` has it.
      width: D, the model's.

    Raises:
      UserError: the file cannot be read or holds nothing, or a tensor is of another shape or type,
        or has values that are not finite.
    """
    where, tensors = _read(path)
    if not sum(tensor.size for tensor in tensors.values()):
        raise UserError(f"{where}: it holds no prompts")
    return np.concatenate(
        [
            _checked(f"{where}: {name}", tensor, "[P, L, D]", length, width)
            for name, tensor in sorted(tensors.items())
        ]
    )


def _read(path: str | Path) -> tuple[str, dict[str, np.ndarray]]:
    where = f"prompt.init={str(path)!r}"
    try:
        return where, safetensors.numpy.load_file(Path(path).expanduser())
    except (OSError, RuntimeError, ValueError, KeyError, safetensors.SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(f"{where}: cannot read it ({reason}); give a .safetensors file") from error


def _checked(where: str, tensor: np.ndarray, form: str, length: int, width: int) -> np.ndarray:
    """The tensor as float32, if it has the form's rank, L rows of width D and finite values."""
    if tensor.ndim != form.count(",") + 1 or tensor.dtype.kind in "biuc":
        raise UserError(
            f"{where} must be real numbers of shape {form}, not {tensor.dtype} of shape "
            f"{list(tensor.shape)}"
        )
    rows, columns = tensor.shape[-2:]
    if columns != width:
        raise UserError(
            f"{where} is {columns} wide and the model {width}; give prompts that were made for "
            "this model"
        )
    if rows != length:
        raise UserError(
            f"{where} has {rows} rows and prompt.length is {length}; set prompt.length={rows}"
        )
    with np.errstate(over="ignore"):  # a float64 beyond float32's range is caught below
        narrowed = tensor.astype(np.float32)
    if not np.isfinite(narrowed).all():
        raise UserError(f"{where} holds values that are not finite in float32")
    return narrowed
