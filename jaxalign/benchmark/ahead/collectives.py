"""What the devices of a compiled program send each other."""

import dataclasses
import re

import numpy as np

from jaxalign.benchmark.ahead.hlo import Program

_COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-permute",
    "reduce-scatter",
)


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective of a program.

    Attributes:
      kind: all-gather, all-reduce, all-to-all, collective-permute or reduce-scatter.
      scope: the functions it was made in.
      groups: of devices that talk to each other.
      result: bytes of its result on a device, each time.
      times: that the program does it, where loops have a known length.
      loops: turns of the loops around it.
      overlapped: whether other work may go on meanwhile.
    """

    kind: str
    scope: str
    groups: set[frozenset[int]]
    result: int
    times: int
    loops: tuple[int, ...] = ()
    overlapped: bool = False

    @property
    def sent(self) -> float:
        """Bytes that each device sends in all, around a ring."""
        size = max(map(len, self.groups))
        shares = {
            "all-reduce": 2 * (size - 1) / size,
            "reduce-scatter": size - 1.0,
            "collective-permute": 1.0,
        }
        return self.times * self.result * shares.get(self.kind, (size - 1) / size)


def collectives_of(program: str | Program, devices: int) -> list[Collective]:
    """Every collective of a program for so many devices."""
    program = Program(program) if isinstance(program, str) else program
    found = []
    for kernel in program.kernels:
        each = kernel.instruction
        kind = each.kind.removesuffix("-start")
        if kind not in _COLLECTIVES:
            continue
        scope = re.search(r'op_name="([^"]*)"', each.line)
        # What is started has its operands beside its result.
        whole = each.arrays[len(each.arrays) // 2 :] if each.kind != kind else each.arrays
        if each.kind == "all-reduce-start":
            whole = each.arrays
        found.append(
            Collective(
                kind,
                scope[1] if scope else "",
                _groups(each.line, devices),
                int(sum(array.bytes for array in whole)),
                kernel.times,
                kernel.loops,
                each.kind != kind,
            )
        )
    return found


def _groups(line: str, devices: int) -> set[frozenset[int]]:
    """The groups of an instruction in any of the ways that XLA writes them."""
    listed = re.search(r"(?:replica_groups|source_target_pairs)=\{(\{.*?\})\}", line)
    if listed:
        return {
            frozenset(map(int, one.split(","))) for one in re.findall(r"\{([\d,]+)\}", listed[1])
        }
    if iota := re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", line):
        shape, dims, turn = (
            [int(size) for size in part.split(",")] if part else None for part in iota.groups()
        )
        numbers = np.arange(devices).reshape(dims)
        numbers = numbers.transpose(turn) if turn else numbers
        return {frozenset(row) for row in numbers.reshape(shape).tolist()}
    axes = re.search(r"replica_groups=mesh\[([^\]]*)\](?:<=\[[^\]]*\])? \{([^}]*)\}", line)
    assert axes, line
    names, sizes = zip(
        *(part.split("=") for part in axes[1].replace("'", "").split(",")), strict=True
    )
    over = [name.strip() for name in axes[2].replace("'", "").split(",")]
    numbers = np.arange(devices).reshape([int(size) for size in sizes])
    kept = [place for place, name in enumerate(names) if name.strip() not in over]
    moved = [place for place, name in enumerate(names) if name.strip() in over]
    width = int(np.prod([numbers.shape[place] for place in moved]))
    rows = numbers.transpose(*kept, *moved).reshape(-1, width)
    return {frozenset(row) for row in rows.tolist()}
