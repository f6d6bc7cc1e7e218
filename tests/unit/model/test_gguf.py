"""GGUF files: the same model as transformers reads from them, with torch."""

import gguf
import numpy as np
import parity_cases as parity
import pytest
from tiers import every

import jaxalign.model as jm
from jaxalign.errors import UserError
from jaxalign.prompts import load_tokenizer

KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
WIDTH, HEADS, KV_HEADS, LAYERS, MLP, VOCAB = 256, 4, 2, 2, 512, 262
# Bytes of a block that hold its scales in half precision: any others would make infinities.
_SCALES = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}


def quantized(draw, shape, kind):
    """Draw a matrix and return it as the bytes of a type of llama.cpp."""
    matrix = draw.normal(size=shape).astype(np.float32) * shape[1] ** -0.5
    if kind not in _SCALES:
        return gguf.quantize(matrix, gguf.GGMLQuantizationType[kind])
    values, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    blocks = draw.integers(0, 256, (shape[0], shape[1] // values, size)).astype(np.uint8)
    for at in _SCALES[kind]:
        scale = draw.uniform(1e-4, 2e-4, blocks.shape[:2]).astype(np.float16)
        blocks[..., at : at + 2] = scale[..., None].view(np.uint8)
    return blocks.reshape(shape[0], -1)


def write(
    path,
    kind="F32",
    tied=True,
    metadata=None,
    tensors=None,
    *,
    arch="llama",
    block_count=None,
    add_bos=None,
):
    """Write a small llama with a byte-level tokenizer; all its matrices are of one type."""
    draw = np.random.default_rng(0)
    # transformers reads no width of a head from a qwen3's file, and of a gemma3's no scale of the
    # queries: it takes the one to be 128, and the other to be that of a head of 256.
    heads, kv_heads = (2, 1) if arch in ("qwen3", "gemma3") else (HEADS, KV_HEADS)
    head_dim = 256 if arch == "gemma3" else WIDTH // heads
    layers = 6 if arch == "gemma3" else LAYERS  # the sixth does not slide
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(block_count or layers)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(head_dim)
    writer.add_key_length(head_dim)
    writer.add_rope_freq_base(50_000.0)
    if arch == "gemma3":
        writer.add_sliding_window(300)
    for name, value in (metadata or {}).items():
        writer.add_uint32(name, value)
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokens = ["<|end|>", "<|start|>", *bytes_to_unicode().values(), "Ġt", "he", "in", "Ġthe"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (len(tokens) - 2))
    writer.add_token_merges(["Ġ t", "h e", "i n", "Ġt he"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)
    writer.add_chat_template("{{ messages[0]['content'] }}<|end|>")
    assert len(tokens) == VOCAB

    def add(name, shape):
        kinds = gguf.GGMLQuantizationType
        writer.add_tensor(name, quantized(draw, shape, kind), raw_dtype=kinds[kind])

    add("token_embd.weight", (VOCAB, WIDTH))
    if not tied:
        add("output.weight", (VOCAB, WIDTH))
    norms = ["output_norm.weight"]
    q, kv = head_dim * heads, head_dim * kv_heads
    shapes = {"attn_q": (q, WIDTH), "attn_k": (kv, WIDTH), "attn_v": (kv, WIDTH)}
    shapes |= {"attn_output": (WIDTH, q), "ffn_down": (WIDTH, MLP)}
    shapes |= {"ffn_gate": (MLP, WIDTH), "ffn_up": (MLP, WIDTH)}
    for layer in range(layers):
        for name in ("post_attention_norm", "post_ffw_norm") if arch == "gemma3" else ():
            norms.append(f"blk.{layer}.{name}.weight")
        norms += [f"blk.{layer}.attn_norm.weight", f"blk.{layer}.ffn_norm.weight"]
        for name, shape in shapes.items():
            add(f"blk.{layer}.{name}.weight", shape)
            if arch == "qwen2" and name in ("attn_q", "attn_k", "attn_v"):
                bias = draw.normal(size=shape[0]).astype(np.float32)
                writer.add_tensor(f"blk.{layer}.{name}.bias", bias)
        for name in ("attn_q_norm", "attn_k_norm") if arch in ("qwen3", "gemma3") else ():
            norm = (1 + 0.2 * draw.normal(size=head_dim)).astype(np.float32)
            writer.add_tensor(f"blk.{layer}.{name}.weight", norm)
    for name in norms:
        writer.add_tensor(name, (1 + 0.2 * draw.normal(size=WIDTH)).astype(np.float32))
    for name, array in (tensors or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


OTHERS = (("Q8_0", "qwen2"), ("Q4_K", "qwen3"), ("Q5_0", "gemma3"))


@pytest.mark.parametrize(
    ("kind", "arch"),
    every(
        [*((kind, "llama") for kind in KINDS), *OTHERS],
        ("F16", "llama"),
        ("Q6_K", "llama"),
        *OTHERS,
    ),
)
def test_logits_equal_those_of_transformers(kind, arch, tmp_path, run_ours):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    path = write(tmp_path / f"{kind}.gguf", kind, tied=kind != "Q8_0", arch=arch)
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager"
    )
    graphdef, weights, config = jm.load_model(path, "float32")
    sequence = parity.inputs(config.vocab_size)
    theirs = parity.torch_outputs(model.eval(), *sequence)["logits"]
    assert parity.relative_error(run_ours(graphdef, weights, *sequence)["logits"], theirs) < 1e-5


def test_what_a_gemma3_file_says_of_its_layers(tmp_path):
    """Six of them: the last is global, and the others slide with an embedding of their own."""
    path = write(tmp_path / "small.gguf", arch="gemma3")
    config = jm.read_config(path)
    assert (config.family.name, config.window, config.activation) == (
        *("gemma3_text", 300, "gelu_pytorch_tanh"),
    )
    assert config.sliding_layers == (True,) * 5 + (False,)
    assert (config.rope.theta, config.local_rope.theta) == (50_000, 10_000)
    assert config.query_scale == 1
    # Heads of 27B's width would be scaled by 1/√168, which no key says.
    path = write(tmp_path / "large.gguf", arch="gemma3", block_count=62)
    assert jm.read_config(path).query_scale == pytest.approx((256 / 168) ** 0.5)


@pytest.mark.parametrize("add_bos", [None, False, True])
def test_tokenizer_and_template_are_those_of_transformers(add_bos, tmp_path):
    pytest.importorskip("torch")
    from transformers import AutoTokenizer

    path = write(tmp_path / "small.gguf", add_bos=add_bos)
    theirs = AutoTokenizer.from_pretrained(tmp_path, gguf_file=path.name)
    mine = load_tokenizer(path)
    text = "<|start|>In the theatre, 10 or 3?<|end|>"
    assert mine(text, add_special_tokens=False) == theirs(text, add_special_tokens=False)
    assert mine("the") == theirs("the")
    assert (mine("the")["input_ids"][0] == mine.bos_token_id) == bool(add_bos)
    assert mine.convert_ids_to_tokens(mine(text)["input_ids"])[0] == "<|start|>"
    assert (mine.eos_token, mine.bos_token) == ("<|end|>", "<|start|>")
    assert mine.chat_template == theirs.chat_template
    assert jm.read_stop_ids(path) == {0}


def test_rows_of_a_quantised_table_are_read_by_themselves(tmp_path):
    path = write(tmp_path / "small.gguf", "Q4_1")
    _, weights, _ = jm.load_model(path, "float32")
    rows = np.asarray(weights["embedding"][...])[[5, 3, 5]]
    assert np.array_equal(jm.read_embeddings(path, [5, 3, 5]), rows)


def test_llama3_scaling_is_found_by_its_factors(tmp_path):
    """As llama.cpp's converter computes them from Llama 3.1's config.json."""
    pairs = np.arange(0, WIDTH // HEADS, 2) / (WIDTH // HEADS)
    wavelengths = 2 * np.pi * 50_000.0**pairs
    smooth = (8192 / wavelengths - 1) / 3
    factors = np.where(
        wavelengths < 2048,
        1,
        np.where(wavelengths > 8192, 32, 1 / ((1 - smooth) / 32 + smooth)),
    ).astype(np.float32)
    path = write(tmp_path / "small.gguf", tensors={"rope_freqs.weight": factors})
    rope = jm.load_model(path, "float32")[2].rope
    assert (rope.type, rope.factor, rope.original_max_positions) == ("llama3", 32, 8192)
    assert (rope.low_freq_factor, rope.high_freq_factor) == (1, 4)
    path = write(tmp_path / "other.gguf", tensors={"rope_freqs.weight": factors[::-1].copy()})
    with pytest.raises(UserError, match="not the factors of Llama 3"):
        jm.read_config(path)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-5000])


def _no_gguf(path):
    path.write_bytes(b"PK" + path.read_bytes()[2:])


@pytest.mark.parametrize("damage", [_cut, _no_gguf])
def test_a_damaged_file_is_named(damage, tmp_path):
    path = write(tmp_path / "small.gguf")
    damage(path)
    with pytest.raises(UserError, match=r"small\.gguf: .*download it again"):
        jm.load_model(path, "float32")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"metadata": {"llama.expert_count": 8}}, "expert_count=8 is not implemented"),
        ({"metadata": {"split.count": 3}}, "one of 3 parts"),
        ({"tensors": {"blk.0.extra.weight": np.zeros(3, np.float32)}}, "blk.0.extra.*unexpected"),
    ],
)
def test_what_is_not_implemented_is_refused(more, message, tmp_path):
    path = write(tmp_path / "small.gguf", **more)
    with pytest.raises(UserError, match=message):
        jm.load_model(path, "float32")


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.gguf.*no such file"):
        jm.resolve(str(tmp_path / "none.gguf"))
