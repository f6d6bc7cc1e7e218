"""Programs compiled ahead of time: what is read from their text, by hand and against formulas."""

import jax
import pytest

from jaxalign.benchmark import make_points
from jaxalign.benchmark.ahead import Target, compile_points, find_target
from jaxalign.benchmark.ahead.collectives import collectives_of
from jaxalign.benchmark.ahead.hlo import Program
from jaxalign.config import base, freeze
from jaxalign.errors import UserError

# A loop of 6 turns (told by its condition alone) around a product with one layer of a stack, which
# is copied to fast memory first, and a sum over two devices; then one copy outside.
TEXT = """HloModule jit_step, is_scheduled=true

%sliced (p.0: bf16[8,64,32], p.1: s32[]) -> bf16[1,64,32] {
  %p.0 = bf16[8,64,32]{2,1,0} parameter(0)
  %p.1 = s32[] parameter(1)
  ROOT %ds = bf16[1,64,32]{2,1,0:T(8,128)(2,1)S(1)} dynamic-slice(%p.0, %p.1), dynamic_slice_sizes={1,64,32}
}

%multiplied (q.0: bf16[16,32], q.1: bf16[64,32]) -> bf16[16,64] {
  %q.0 = bf16[16,32]{1,0} parameter(0)
  %q.1 = bf16[64,32]{1,0} parameter(1)
  ROOT %conv = bf16[16,64]{1,0} convolution(%q.0, %q.1), dim_labels=bf_oi->bf
}

%body (state: (s32[], bf16[16,32], bf16[8,64,32])) -> (s32[], bf16[16,32], bf16[8,64,32]) {
  %state = (s32[]{:T(128)}, bf16[16,32]{1,0}, /*index=2*/bf16[8,64,32]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %rows = bf16[16,32]{1,0} get-tuple-element(%state), index=1
  %stack = bf16[8,64,32]{2,1,0} get-tuple-element(%state), index=2
  %slice = bf16[1,64,32]{2,1,0:T(8,128)(2,1)S(1)} fusion(%stack, %i), kind=kLoop, calls=%sliced
  %weight = bf16[64,32]{1,0:S(1)} bitcast(%slice)
  %product = bf16[16,64]{1,0} fusion(%rows, %weight), kind=kOutput, calls=%multiplied, backend_config={"estimated_cycles":"1500"}
  %sum = bf16[16,64]{1,0} all-reduce(%product), replica_groups={{0,1}}, to_apply=%add, metadata={op_name="jit(step)/while/add"}
  ROOT %next = (s32[], bf16[16,32]{1,0}, bf16[8,64,32]{2,1,0}) tuple(%i, %rows, %stack)
}

%condition (state.1: (s32[], bf16[16,32], bf16[8,64,32])) -> pred[] {
  %limit = s32[]{:T(128)} constant(6)
  %state.1 = (s32[], bf16[16,32]{1,0}, bf16[8,64,32]{2,1,0}) parameter(0)
  %j = s32[] get-tuple-element(%state.1), index=0
  ROOT %less = pred[] compare(%j, %limit), direction=LT
}

ENTRY %main (a: (s32[], bf16[16,32], bf16[8,64,32])) -> bf16[16,32] {
  %a = (s32[], bf16[16,32]{1,0}, bf16[8,64,32]{2,1,0}) parameter(0)
  %loop = (s32[], bf16[16,32]{1,0}, bf16[8,64,32]{2,1,0}) while(%a), condition=%condition, body=%body
  %out = bf16[16,32]{1,0} get-tuple-element(%loop), index=1
  ROOT %copied = bf16[16,32]{0,1} copy(%out)
}
"""  # noqa: E501


def test_a_program_is_read_as_it_runs():
    program = Program(TEXT)
    kernels = {each.instruction.name: each for each in program.kernels}
    assert kernels.keys() == {"slice", "product", "sum", "less", "copied"} - {"less"}
    assert kernels["product"].loops == (6,) and kernels["copied"].loops == ()
    (product,) = program.products("body", kernels["product"].instruction)
    assert product.flop == 2 * 16 * 64 * 32
    assert product.types == ("bf16", "bf16", "bf16")
    assert kernels["product"].instruction.cycles == 1500
    # Of the stack one layer is read, and written to fast memory, which costs nothing; the product
    # reads its rows alone.
    assert program.moved("body", kernels["slice"].instruction) == 64 * 32 * 2 + 4
    assert program.moved("body", kernels["product"].instruction) == 16 * 32 * 2 + 16 * 64 * 2
    assert program.moved("main", kernels["copied"].instruction) == 2 * 16 * 32 * 2
    (found,) = collectives_of(program, 2)
    assert (found.kind, found.result, found.times) == ("all-reduce", 16 * 64 * 2, 6)
    assert found.groups == {frozenset({0, 1})} and not found.overlapped


def test_a_loop_of_unknown_length_turns_as_often_as_told():
    text = TEXT.replace("constant(6)", "parameter(1)")
    assert {each.times for each in Program(text, unknown=3).kernels} == {1, 3}


@pytest.fixture(scope="module")
def on_the_cpu() -> list[dict]:
    """The evaluation of a small shape, compiled for the CPU in place of a chip."""
    config = base("embedded")
    config.country = "SA"
    config.prompt.length = 4
    config.search.population = 8
    config.objective.formats = "identity"
    target = Target("cpu", "cpu", 2**34, 5e10, {"bf16": 3e11}, None, tuple(jax.devices()[:1]))
    points = make_points(freeze(config), ["chunk=2,4"])
    return list(compile_points(points, target, "2x512"))


def test_operations_are_those_of_the_formula_and_arguments_the_weights(on_the_cpu):
    weights = 2 * 2048 * 512 * 4 + 2 * (2 * 512 * 512 + 2 * 512 * 128 + 3 * 512 * 1792) * 4
    temporaries = []
    for chunk, figures in zip((2, 4), on_the_cpu, strict=True):
        (name, program), *others = figures["programs"].items()
        assert name == f"evaluate, chunk {chunk}" and not others  # of several settings
        flop = sum(program["flop"].values())
        assert flop == pytest.approx(figures["flop_by_formula"], rel=1e-3)
        assert program["memory"]["arguments"] == pytest.approx(weights, rel=0.1)
        temporaries.append(program["memory"]["temporaries"])
    assert temporaries[0] < temporaries[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v9:2x2", "no such chip; give v5e, v5p, v6e, h100, h200"),
        ("v5e:2by2", "write the devices as a grid, such as v5e:2x2"),
        ("v5e:2x0", "write the devices as a grid"),
    ],
)
def test_a_chip_that_is_not_known_is_refused(name, message, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with pytest.raises(UserError, match=message):
        find_target(name)


@pytest.mark.parametrize(("name", "extra"), [("v5e:2x2", "compile-tpu"), ("h100", "compile-gpu")])
def test_a_missing_compiler_is_named_with_its_extra(name, extra, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf"pip install 'jaxalign\[{extra}\]'"):
        find_target(name)


def test_devices_are_to_be_left_alone(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    with pytest.raises(UserError, match="set JAX_PLATFORMS=cpu"):
        find_target("v5e:2x2")
