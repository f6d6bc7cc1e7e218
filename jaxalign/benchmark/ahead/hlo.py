"""Reads a compiled program's text: what runs how often, what is multiplied and moved."""

import dataclasses
import math
import re
from collections.abc import Iterator

_COMPUTATION = re.compile(r"(ENTRY )?%([\w.-]+) .*\{$")
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%([\w.-]+) = (.*?) ([a-z][a-z0-9-]*)\(([^)]*)")
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
_RUNS = {  # what an instruction of a kind runs; whatever a fusion calls is a part of it
    "while": "body",
    "call": "to_apply",
    "conditional": r"(?:branch_computations|true_computation|false_computation)",
    "async-start": "calls",
}
_MATMUL = re.compile(r'custom_call_target="(__cublas\$[^"]*|__cudnn\$[^"]*)"')
_FREE = {"parameter", "get-tuple-element", "tuple", "bitcast", "constant", "after-all", *_RUNS}
_SLICES = {"dynamic-slice", "slice", "gather"}


@dataclasses.dataclass(frozen=True)
class Array:
    """One array that an instruction takes or makes; `fast` where it is not in main memory."""

    dtype: str
    shape: tuple[int, ...]
    fast: bool
    bytes: float


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation: `kind` is XLA's name of the operation."""

    name: str
    kind: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    line: str

    @property
    def called(self) -> str | None:
        """The computation that a fusion is made of."""
        return _one(r"calls=%([\w.-]+)", self.line) if self.kind == "fusion" else None

    @property
    def cycles(self) -> int:
        """XLA's estimate; 0 where it has none."""
        return max(0, int(_one(r'estimated_cycles":"(-?\d+)"', self.line) or 0))


@dataclasses.dataclass(frozen=True)
class Product:
    """A matrix product: its operations, and the types of both sides and of the result."""

    flop: int
    types: tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class Kernel:
    """An instruction that is run by itself.

    Attributes:
      instruction: it.
      computation: that it stands in.
      times: that the program runs it.
      loops: turns of the loops around it, the outermost first.
    """

    instruction: Instruction
    computation: str
    times: int
    loops: tuple[int, ...]


class Program:
    """A compiled program.

    Args:
      text: of the optimised module, as `Compiled.as_text` gives it.
      unknown: turns of a loop whose length the text does not have.

    Attributes:
      computations: instructions by name, by the computation's name.
      kernels: what runs by itself, in the program's order.
    """

    def __init__(self, text: str, unknown: int = 1):
        self.computations: dict[str, dict[str, Instruction]] = {}
        self._unknown = unknown
        entry = name = ""
        for line in text.splitlines():
            if opening := _COMPUTATION.match(line):
                name = opening[2]
                entry = name if opening[1] else entry
                self.computations[name] = {}
            elif name and (match := _INSTRUCTION.match(line)):
                operands = tuple(re.findall(r"%([\w.-]+)", match[4]))
                arrays = tuple(_arrays(match[2]))
                if _MATMUL.search(line):
                    arrays = arrays[:1]  # the others are scratch
                self.computations[name][match[1]] = Instruction(
                    match[1], match[3], arrays, operands, line
                )
        self.kernels = tuple(self._kernels(entry, ()))

    def _kernels(self, computation: str, loops: tuple[int, ...]) -> Iterator[Kernel]:
        for each in self.computations.get(computation, {}).values():
            if each.kind not in _FREE:
                yield Kernel(each, computation, math.prod(loops), loops)
            if what := _RUNS.get(each.kind):
                inside = (*loops, self._turns(each)) if each.kind == "while" else loops
                for braces, called in re.findall(
                    rf"{what}=(?:\{{([^}}]*)\}}|%([\w.-]+))", each.line
                ):
                    for name in re.findall(r"[\w.-]+", braces or called):
                        yield from self._kernels(name, inside)

    def _turns(self, loop: Instruction) -> int:
        """Return the turns of a loop that counts from zero, by its condition if not told."""
        if told := _one(r'known_trip_count":\{"n":"(\d+)"', loop.line):
            return int(told)
        condition = self.computations.get(_one(r"condition=%([\w.-]+)", loop.line) or "", {})
        constants = {each.name: each.line for each in condition.values() if each.kind == "constant"}
        for each in condition.values():
            if each.kind == "compare" and "direction=LT" in each.line:
                limit = constants.get(each.operands[-1], "")
                if number := _one(r"constant\((\d+)\)", limit):
                    return int(number)
        return self._unknown

    def products(self, computation: str, instruction: Instruction) -> list[Product]:
        """Return the matrix products of an instruction, those within a fusion included."""
        if called := instruction.called:
            inner = self.computations[called]
            return [each for one in inner.values() for each in self.products(called, one)]
        local, line = self.computations[computation], instruction.line
        if instruction.kind == "dot":
            over = _numbers(r"lhs_contracting_dims=\{([\d,]*)\}", line)
        elif instruction.kind == "convolution":
            return [self._convolution(local, instruction)]
        elif instruction.kind == "custom-call" and _MATMUL.search(line):
            over = _numbers(r'lhs_contracting_dimensions":\[([^\]]*)\]', line)
        else:
            return []
        left, right = (_whole(local, name) for name in instruction.operands[:2])
        result = instruction.arrays[0]
        flop = 2 * math.prod(result.shape) * math.prod(left.shape[axis] for axis in over)
        return [Product(flop, (left.dtype, right.dtype, result.dtype))]

    def _convolution(self, local: dict[str, Instruction], instruction: Instruction) -> Product:
        """A product as TPUs have it: a window moves over what is contracted, or over a batch."""
        left, right = (_whole(local, name) for name in instruction.operands[:2])
        result, line = instruction.arrays[0], instruction.line
        labels = _one(r"dim_labels=\S+?_(\w+)->\w+", line) or ""
        outputs = _one(r"dim_labels=\S+?->(\w+)", line) or ""
        flop = 2 * math.prod(result.shape) * right.shape[labels.index("i")]
        window = [
            int(size) for size in (_one(r"window=\{size=([\dx]+)", line) or "").split("x") if size
        ]
        for axis, size in enumerate(window):
            if result.shape[outputs.index(str(axis))] == 1:
                flop *= size
        return Product(flop, (left.dtype, right.dtype, result.dtype))

    def moved(self, computation: str, instruction: Instruction) -> float:
        """Return bytes that an instruction reads from main memory and writes to it.

        Of a stack of which a fusion takes one slice, the slice counts.
        """
        if instruction.kind.endswith("-start"):
            return 0.0  # its end counts
        local = self.computations[computation]
        if instruction.kind.endswith("-done"):
            return sum(array.bytes for array in instruction.arrays)
        written = sum(
            _update(self.computations, instruction, index)
            for index in range(len(instruction.arrays))
        )
        read = 0.0
        for index, name in enumerate(instruction.operands):
            source = local.get(name)
            if source and len(source.arrays) == 1 and not source.arrays[0].fast:
                read += self._read(instruction, index, source.arrays[0])
        return written + read

    def _read(self, instruction: Instruction, index: int, whole: Array) -> float:
        if instruction.kind in _SLICES and index == 0:
            return instruction.arrays[0].bytes
        if instruction.kind == "dynamic-update-slice" and index == 0:
            return 0.0
        called = instruction.called
        if not called:
            return whole.bytes
        inner = self.computations[called]
        inside = [
            each.name
            for each in inner.values()
            if each.kind == "parameter" and f"parameter({index})" in each.line
        ]
        total = 0.0
        for each in inner.values():
            for at, name in enumerate(each.operands):
                if name in inside:
                    if each.kind == "bitcast":  # the same memory
                        return whole.bytes
                    total += self._read(each, at, whole)
        return min(total, whole.bytes)


def _update(
    computations: dict[str, dict[str, Instruction]], instruction: Instruction, index: int
) -> float:
    """Bytes that are written of a result: of an update in place, what it updates."""
    array = instruction.arrays[index]
    if array.fast:
        return 0.0
    local, root = None, instruction
    while called := root.called:
        local = computations[called]
        root = next(each for each in local.values() if each.line.lstrip().startswith("ROOT"))
        if root.kind == "tuple" and index < len(root.operands):
            root = local[root.operands[index]]
    if root.kind == "dynamic-update-slice" and local is not None:
        return _whole(local, root.operands[1]).bytes
    return array.bytes


def matrix_flop(program: str | Program) -> int:
    """Multiplications and additions of a program's matrix products on one device.

    A loop of unknown length counts once.
    """
    program = Program(program) if isinstance(program, str) else program
    return sum(
        kernel.times * product.flop
        for kernel in program.kernels
        for product in program.products(kernel.computation, kernel.instruction)
    )


def _arrays(text: str) -> Iterator[Array]:
    for dtype, bits, shape, layout in _ARRAY.findall(text):
        sizes = tuple(int(size) for size in shape.split(",") if size)
        yield Array(dtype, sizes, "S(" in layout, math.prod(sizes) * int(bits or 8) / 8)


def _whole(local: dict[str, Instruction], name: str) -> Array:
    return local[name].arrays[0]


def _one(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None


def _numbers(pattern: str, text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", _one(pattern, text) or "")]
