"""The architecture of a model: what its family does, and its sizes."""

import dataclasses

from jaxalign.errors import UserError
from jaxalign.model.hf_rope import RopeConfig


@dataclasses.dataclass(frozen=True)
class Family:
    """The models of one `model_type` of Hugging Face; the defaults are llama's.

    Attributes:
      name: the model type.
      architecture: transformers' class of its causal language model.
      output_bias: whether `attention_bias` gives attention's output a bias too.
      query_key_norms: whether each head's query and key are normed before they are rotated.
      sandwich_norms: whether the outputs of attention and feed-forward are normed before they are
        added to the residual.
      unit_offset: whether a norm multiplies by 1 + weight, and not by the weight.
      scaled_embedding: whether an embedding is its row of the table times the root of the width.
    """

    name: str
    architecture: str
    output_bias: bool = True
    query_key_norms: bool = False
    sandwich_norms: bool = False
    unit_offset: bool = False
    scaled_embedding: bool = False


LLAMA = Family("llama", "LlamaForCausalLM")
MISTRAL = Family("mistral", "MistralForCausalLM")
QWEN2 = Family("qwen2", "Qwen2ForCausalLM", output_bias=False)
QWEN3 = Family("qwen3", "Qwen3ForCausalLM", query_key_norms=True)
GEMMA3 = Family(
    "gemma3_text",
    "Gemma3ForCausalLM",
    query_key_norms=True,
    sandwich_norms=True,
    unit_offset=True,
    scaled_embedding=True,
)
FAMILIES = {each.name: each for each in (LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA3)}


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """The architecture of one checkpoint; defaults are those of transformers' LlamaConfig.

    Attributes that their names do not explain:
      attention_bias: of queries, keys and values; of the output where the family has one.
      tied: whether the head is the embedding table.
      rope: rotary embedding of all layers, or of those that do not slide.
      family: what the decoder does.
      query_pre_attn_scalar: attention scores are divided by its root; `head_dim` if None.
      window: positions that a sliding layer sees, itself included; 0 where none slides. We run
        sequences within it, on which it changes nothing.
      sliding_layers: whether each layer slides; empty where none does.
      local_rope: rotary embedding of the layers that slide; `rope` if None.
    """

    vocab_size: int = 32000
    width: int = 4096
    layers: int = 32
    heads: int = 32
    kv_heads: int = 32
    head_dim: int = 128
    mlp_width: int = 11008
    norm_eps: float = 1e-6
    activation: str = "silu"
    attention_bias: bool = False
    mlp_bias: bool = False
    tied: bool = False
    max_positions: int = 2048
    rope: RopeConfig = dataclasses.field(default_factory=RopeConfig)
    family: Family = LLAMA
    query_pre_attn_scalar: float | None = None
    window: int = 0
    sliding_layers: tuple[bool, ...] = ()
    local_rope: RopeConfig | None = None

    @property
    def embedding_scale(self) -> float:
        """What a row of the embedding table is multiplied by."""
        return self.width**0.5 if self.family.scaled_embedding else 1.0

    @property
    def query_scale(self) -> float:
        """What queries are multiplied by beside the 1/√H of all attention."""
        scalar = self.query_pre_attn_scalar
        return 1.0 if scalar is None else (self.head_dim / scalar) ** 0.5

    @property
    def longest(self) -> int:
        """Positions of the longest sequence that we run."""
        return min(self.max_positions, self.window or self.max_positions)

    def identity(self) -> str:
        """Return text that tells architectures apart.

        A llama's is what it was before there were other families, so that older runs resume.
        """
        if self.family != LLAMA:
            return repr(self)
        names = [field.name for field in dataclasses.fields(self)]
        shown = names[: names.index("family")]
        return f"LlamaConfig({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def check_positions(self, longest: int) -> None:
        """Refuse inputs that the model has no positions for.

        Args:
          longest: number of positions of the longest path, soft prompt included.

        Raises:
          UserError: if it exceeds `max_positions`, or the window of layers that slide.
        """
        if longest <= self.longest:
            return
        limit = f"the model has max_position_embeddings={self.max_positions}"
        if self.longest < self.max_positions:
            limit = f"layers of the model see sliding_window={self.window} positions and no more"
        raise UserError(
            f"the longest question needs {longest} positions, soft prompt included, but {limit}: "
            "shorten prompt.length or the survey's texts"
        )
