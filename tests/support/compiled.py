"""Reads a compiled program's text: who talks to whom, how much, and how much is multiplied."""

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Iterator

import numpy as np

_COLLECTIVE = re.compile(
    r" = (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)\("
)
_ARRAY = re.compile(r"\b(?:pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
_CALL = re.compile(r"(?:calls|to_apply|body|condition|branch_computations)=(\{[^}]*\}|%[\w.-]+)")
_DOT = re.compile(r"%([\w.-]+) = .* dot\(%([\w.-]+), .*lhs_contracting_dims=\{([\d,]*)\}")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective of a program.

    Attributes:
      kind: all-gather, all-reduce, all-to-all, collective-permute or reduce-scatter.
      scope: the functions it was made in.
      groups: of devices that talk to each other.
      result: bytes of its result on a device, each time.
      times: that the program does it, where loops have a known length.
    """

    kind: str
    scope: str
    groups: set[frozenset[int]]
    result: int
    times: int

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


def collectives_of(program: str, devices: int) -> list[Collective]:
    """Every collective of a program for so many devices."""
    found = []
    for line, times in _lines(program):
        if match := _COLLECTIVE.search(line):
            scope = re.search(r'op_name="([^"]*)"', line)
            name = scope[1] if scope else ""
            size = sum(
                int(bits or 8) // 8 * math.prod(map(int, filter(None, shape.split(","))))
                for bits, shape in _ARRAY.findall(match[1])
            )
            found.append(Collective(match[2], name, _groups(line, devices), size, times))
    return found


def matrix_flop(program: str) -> int:
    """Multiplications and additions of a program's matrix products on one device.

    A loop of unknown length counts once.
    """
    shapes: dict[str, list[int]] = {}
    dots = []
    for line, times in _lines(program):
        name = re.match(r"\s*(?:ROOT )?%([\w.-]+) = ", line)
        if name and (array := _ARRAY.search(line)):
            shapes[name[1]] = [int(size) for size in array[2].split(",") if size]
        if dot := _DOT.search(line):
            dots.append((dot[1], dot[2], [int(at) for at in dot[3].split(",")], times))
    return sum(
        2 * times * math.prod(shapes[result]) * math.prod(shapes[left][at] for at in over)
        for result, left, over, times in dots
    )


def _lines(program: str) -> Iterator[tuple[str, int]]:
    """Every instruction, and how often the program runs it."""
    bodies: dict[str, list[str]] = {}
    entry = name = ""
    for line in program.splitlines():
        if opening := re.match(r"(ENTRY )?%([\w.-]+) .*\{$", line):
            name = opening[2]
            entry = name if opening[1] else entry
            bodies[name] = []
        elif name and " = " in line:
            bodies[name].append(line)
    callers: dict[str, list[tuple[str, int]]] = collections.defaultdict(list)
    for caller, lines in bodies.items():
        for line in lines:
            trips = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
            for called in re.findall(r"%([\w.-]+)", " ".join(_CALL.findall(line))):
                callers[called].append((caller, int(trips[1]) if trips else 1))

    @functools.cache
    def times(called: str) -> int:
        return (called == entry) + sum(n * times(caller) for caller, n in callers[called])

    for body, lines in bodies.items():
        for line in lines:
            yield line, times(body)


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
