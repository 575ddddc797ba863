"""Writes TrOCR as two ONNX files: the encoder with what the decoder computes of the image, and one step of the decoder.

Written node by node, as the compact network is: each tensor keeps its name, and what is computed once for a line (keys
and values of the image for each layer of the decoder) is computed by the encoder's file. The decoder's file takes any
number of tokens at once, of any number of lines and beams: one token in a search, all tokens of a draft in one pass.

The weights of each lie in a file beside it, and a graph alone knows nothing of a training.

Eight-bit weights are per output channel, symmetric; what they are multiplied with is brought to eight bits row by row
when it is there, so that a token is computed alike whatever else is in the call. Behind an activation, which never goes
far below zero, the steps begin at the least value that it has: they are half as large.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quillread.errors import ModelError
from quillread.models.onnx import beside
from quillread.models.onnx_graph import Graph, Weights
from quillread.models.trocr.loading import Trocr
from quillread.models.trocr.onnx_folder import (
    DECODER_NAME,
    ENCODER_NAME,
    WeightType,
)
from quillread.models.trocr.pixels import SPECIAL_PLACES, as_pair, look_up_tables

_TINY = 1e-12
"""Largest value of a row of zeros: what it is divided by must not be 0."""
_LEAST = {"gelu": -0.17, "relu": 0.0}
"""Activations that are known -> what they never fall below (gelu: -0.16997)."""


def write_networks(model: Trocr, folder: Path, weights: WeightType) -> None:
    """Write both networks of a model into a folder.

    Args:
        model: In evaluation mode, float32; adapters merged.
        folder: Where `encoder.onnx` and `decoder.onnx` are to be, and beside them the files of their weights.
        weights: Number type of the matrices.

    Raises:
        ModelError: If a part of the network is of a kind that is not known here.
        OutputError: If a file cannot be written.
    """
    network = model.network
    check_network(network)
    state = {name: np.asarray(value.numpy(), np.float32) for name, value in network.state_dict().items()}
    state |= {name: np.asarray(value.numpy(), np.float32) for name, value in network.named_buffers()}
    _write_encoder(network.config, state, look_up_tables(model.image_processor), folder / ENCODER_NAME, weights)
    _write_decoder(network.config, state, folder / DECODER_NAME, weights)


def check_network(network: Any) -> None:
    """Refuse what cannot be written.

    Raises:
        ModelError: If the encoder or the decoder is of another kind.
    """
    encoder, decoder = network.config.encoder, network.config.decoder
    if encoder.model_type not in SPECIAL_PLACES or decoder.model_type != "trocr":
        raise ModelError(
            f"a {encoder.model_type!r} encoder with a {decoder.model_type!r} decoder cannot be exported",
            hint=f"known: {' and '.join(SPECIAL_PLACES)} with trocr",
        )
    for part, named in (("encoder", encoder.hidden_act), ("decoder", decoder.activation_function)):
        if named not in _LEAST:
            raise ModelError(f"the activation {named!r} of its {part} cannot be exported: {', '.join(_LEAST)}")


class _TrocrGraph(Graph):
    """Adds the layers of transformers; states are (rows, width)."""

    def __init__(self, weights: Weights, kind: WeightType) -> None:
        super().__init__(weights)
        self.kind = kind
        self._rows: dict[tuple[str, float | None], tuple[str, str]] = {}
        """What is in eight bits already, and its least -> eight-bit numbers and the size of a step, a row each."""
        self._middles: dict[int, str] = {}
        """What stands for 0 -> that number for each row; all states of a graph have as many rows."""

    def numbers(self, name: str, values: Any, kind: Any = np.float32) -> str:
        """Add a constant."""
        self.initializers[name] = np.asarray(values, kind)
        return name

    def one(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        return self.node(kind, list(inputs), **attributes)[0]

    def linear(
        self, x: str, names: list[str], *, factors: dict[str, float] | None = None, least: float | None = None
    ) -> str:
        """Multiply rows by one or more matrices side by side and add their biases.

        Args:
            x: (rows, width).
            names: Of the layers.
            factors: What some of them are multiplied by.
            least: What no number of `x` is below, if that is known.
        """
        factors = factors or {}
        parts = [self._weights[f"{name}.weight"] * np.float32(factors.get(name, 1.0)) for name in names]
        matrix = np.ascontiguousarray(np.concatenate(parts).T)
        label = names[0]
        biases = [
            self._weights.get(f"{name}.bias", np.zeros(len(part), np.float32)) * np.float32(factors.get(name, 1.0))
            for name, part in zip(names, parts, strict=True)
        ]
        y, shift = self._times(x, matrix, label, least)
        return self.one("Add", y, self.numbers(f"{label}.bias", np.concatenate(biases) + shift))

    def _times(
        self, x: str, matrix: NDArray[np.float32], label: str, least: float | None = None
    ) -> tuple[str, NDArray[np.float32]]:
        """Multiply rows by a matrix: the product, and what is to be added to each row of it."""
        nothing = np.zeros(matrix.shape[1], np.float32)
        if self.kind == "float32":
            return self.one("MatMul", x, self.numbers(f"{label}.weight", matrix)), nothing
        steps, whole = to_eight_bits(matrix, axis=0)
        rounded, sizes = self._eight_bits(x, least)
        inputs = [
            rounded,
            self.numbers(f"{label}.weight", whole, np.int8),
            self.numbers("one", 1.0),
            self.numbers(f"{label}.steps", steps[0]),
            self.numbers("middle", 128, np.uint8) if least is None else self.numbers("bottom", 0, np.uint8),
            self.numbers("zero", 0, np.int8),
        ]
        y = self.node("MatMulIntegerToFloat", inputs, domain="com.microsoft")[0]
        shift = nothing if least is None else np.float32(least) * steps[0] * whole.sum(0, dtype=np.float32)
        return self.one("Mul", y, sizes), shift

    def _eight_bits(self, x: str, least: float | None) -> tuple[str, str]:
        """Bring each row to eight bits: around 128, or counted from the least that it may hold."""
        if (x, least) in self._rows:
            return self._rows[x, least]
        if least is None:
            values, most, middle, steps = x, self.one("Abs", x), 128, 127
        else:
            values = self.one("Sub", x, self.numbers(f"least_{least}", least)) if least else x
            most, middle, steps = values, 0, 255
        most = self.one("Max", self.one("ReduceMax", most, axes=[1], keepdims=1), self.numbers("tiny", _TINY))
        sizes = self.one("Mul", most, self.numbers(f"step_{steps}", 1 / steps))
        if middle not in self._middles:
            count = self.one("Shape", x, start=0, end=1)
            self._middles[middle] = self.one("Expand", self.numbers(f"middle_{middle}", [middle], np.uint8), count)
        flat = self.one("Reshape", sizes, self.numbers("flat", [-1], np.int64))
        self._rows[x, least] = (self.one("QuantizeLinear", values, flat, self._middles[middle], axis=0), sizes)
        return self._rows[x, least]

    def layer_norm(self, x: str, name: str, epsilon: float) -> str:
        """Normalise each row."""
        parts = [self.weight(f"{name}.{part}") for part in ("weight", "bias")]
        return self.one("LayerNormalization", x, *parts, axis=-1, epsilon=epsilon)

    def activation(self, x: str, kind: str) -> str:
        """Gelu or relu."""
        if kind == "relu":
            return self.relu(x)
        # Written out: opset 17 has no node for it, and onnxruntime puts these together.
        wave = self.one("Erf", self.one("Div", x, self.numbers("root2", math.sqrt(2.0))))
        return self.one(
            "Mul", self.one("Mul", x, self.one("Add", wave, self.numbers("unit", 1.0))), self.numbers("half", 0.5)
        )

    def heads(self, x: str, shape: str, perm: list[int]) -> str:
        """Put rows into heads: reshape to (N, T, heads, width of a head), then bring the axes in an order."""
        return self.one("Transpose", self.one("Reshape", x, shape), perm=perm)

    def attend(self, queries: str, keys: str, values: str, width: int, mask: str | None = None) -> tuple[str, str]:
        """Attention: (N, h, T, d), (N, h, d, S), (N, h, S, d) to rows of `width`, and the weights (N, h, T, S)."""
        scores = self.one("MatMul", queries, keys)
        if mask is not None:
            scores = self.one("Add", scores, mask)
        weights = self.one("Softmax", scores, axis=-1)
        mixed = self.one("Transpose", self.one("MatMul", weights, values), perm=[0, 2, 1, 3])
        return self.one("Reshape", mixed, self.numbers(f"rows_of_{width}", [-1, width], np.int64)), weights

    def mix(self, parts: list[str], states: int, heads: int, width: int) -> str:
        """Attention of states to each other: queries, keys and values, (states, width) each, to rows of `width`.

        In one node of onnxruntime, which goes through it block by block: the weights, 16 MB in trocr-base, are never
        there as a whole, and it takes less time.
        """
        shape = self.numbers("one_line", [1, states, width], np.int64)
        inputs = [self.one("Reshape", part, shape) for part in parts]
        mixed = self.node("MultiHeadAttention", inputs, domain="com.microsoft", num_heads=heads, scale=1.0)[0]
        return self.one("Reshape", mixed, self.numbers(f"rows_of_{width}", [-1, width], np.int64))

    def name(self, value: str, name: str) -> None:
        """Give a value the name of an output."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name]))


def to_eight_bits(matrix: NDArray[np.float32], axis: int) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Round to whole numbers from -127 to 127, with a step of its own for each place along the other axis.

    Returns:
        Steps, with 1 in place of `axis`, and the numbers.
    """
    steps = np.maximum(np.abs(matrix).max(axis, keepdims=True), _TINY).astype(np.float32) / np.float32(127)
    return steps, np.rint(matrix / steps).astype(np.int8)


def _write_encoder(config: Any, state: Weights, tables: NDArray[np.float32], path: Path, kind: WeightType) -> None:
    encoder, decoder = config.encoder, config.decoder
    graph, width, heads = _TrocrGraph(state, kind), encoder.hidden_size, encoder.num_attention_heads
    each = getattr(encoder, "head_dim", width // heads)
    size, patch = as_pair(encoder.image_size), as_pair(encoder.patch_size)
    states = SPECIAL_PLACES[encoder.model_type] + (size[0] // patch[0]) * (size[1] // patch[1])
    x = _patches(graph, encoder, tables, size)
    for i in range(encoder.num_hidden_layers):
        name = f"encoder.layers.{i}"
        y = graph.layer_norm(x, f"{name}.layernorm_before", encoder.layer_norm_eps)
        # Queries are divided by the root of their width.
        factors = {f"{name}.attention.q_proj": each**-0.5}
        # Three products: to split one takes longer.
        parts = [graph.linear(y, [f"{name}.attention.{part}_proj"], factors=factors) for part in "qkv"]
        mixed = graph.mix(parts, states, heads, heads * each)
        x = graph.one("Add", x, graph.linear(mixed, [f"{name}.attention.o_proj"]))
        y = graph.layer_norm(x, f"{name}.layernorm_after", encoder.layer_norm_eps)
        y = graph.activation(graph.linear(y, [f"{name}.mlp.fc1"]), encoder.hidden_act)
        x = graph.one("Add", x, graph.linear(y, [f"{name}.mlp.fc2"], least=_LEAST[encoder.hidden_act]))
    x = graph.layer_norm(x, "encoder.layernorm", encoder.layer_norm_eps)
    if "enc_to_dec_proj.weight" in state:
        x = graph.linear(x, ["enc_to_dec_proj"])
    outputs = _look_ahead(graph, decoder, x, states)
    graph.save(
        "quillread-trocr-encoder",
        {"pixels": [1, 3, *size]},
        outputs,
        path,
        kinds={"pixels": "UINT8"},
        beside=beside(path),
    )


def _patches(graph: _TrocrGraph, encoder: Any, tables: NDArray[np.float32], size: tuple[int, int]) -> str:
    """From pixels, uint8 (1, 3, h, w), to the rows of the first layer."""
    state, patch, width = graph._weights, as_pair(encoder.patch_size), encoder.hidden_size
    # What becomes of each of 256 values, as the image processor reckons it.
    places = graph.one("Cast", "pixels", to=graph.onnx.TensorProto.INT32)
    places = graph.one("Add", places, graph.numbers("channels", np.array([0, 256, 512]).reshape(1, 3, 1, 1), np.int32))
    pixels = graph.one("Gather", graph.numbers("tables", tables.reshape(-1)), places)
    name = "encoder.embeddings.patch_embeddings.projection"
    x = graph.one(
        "Conv", pixels, graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias"),
        kernel_shape=list(patch), strides=list(patch),
    )  # fmt: skip
    x = graph.one("Reshape", x, graph.numbers("columns", [width, -1], np.int64))
    x = graph.one("Transpose", x, perm=[1, 0])
    tokens = [state["encoder.embeddings.cls_token"][0]]
    if encoder.model_type == "deit":
        tokens.append(state["encoder.embeddings.distillation_token"][0])
    x = graph.one("Concat", graph.numbers("special_tokens", np.concatenate(tokens)), x, axis=0)
    return graph.one("Add", x, graph.numbers("positions", state["encoder.embeddings.position_embeddings"][0]))


def _look_ahead(graph: _TrocrGraph, decoder: Any, x: str, states: int) -> dict[str, list[Any]]:
    """Keys and values of the image, for each layer of the decoder."""
    heads, each = decoder.decoder_attention_heads, decoder.hidden_size // decoder.decoder_attention_heads
    into = graph.numbers("decoder_heads", [1, states, heads, each], np.int64)
    outputs: dict[str, list[Any]] = {}
    for i in range(decoder.decoder_layers):
        name = f"decoder.model.decoder.layers.{i}.encoder_attn"
        keys, values = (graph.linear(x, [f"{name}.{part}_proj"]) for part in "kv")
        graph.name(graph.heads(keys, into, [0, 2, 3, 1]), f"seen_keys_{i}")
        graph.name(graph.heads(values, into, [0, 2, 1, 3]), f"seen_values_{i}")
        outputs |= {f"seen_keys_{i}": [1, heads, each, states], f"seen_values_{i}": [1, heads, states, each]}
    return outputs


def _write_decoder(config: Any, state: Weights, path: Path, kind: WeightType) -> None:
    encoder, decoder = config.encoder, config.decoder
    graph, width, heads = _TrocrGraph(state, kind), decoder.hidden_size, decoder.decoder_attention_heads
    each = width // heads
    size, patch = as_pair(encoder.image_size), as_pair(encoder.patch_size)
    grid = (size[0] // patch[0], size[1] // patch[1])
    x = _embed(graph, decoder)
    texts = graph.one("Shape", "tokens", start=0, end=2)
    into = graph.one("Concat", texts, graph.numbers("of_heads", [heads, each], np.int64), axis=0)
    lines = graph.one("Shape", "seen_keys_0", start=0, end=1)
    per_line = graph.one("Concat", lines, graph.numbers("any_of_heads", [-1, heads, each], np.int64), axis=0)
    looks = []
    for i in range(decoder.decoder_layers):
        name = f"decoder.model.decoder.layers.{i}"
        parts = [f"{name}.self_attn.{part}_proj" for part in "qkv"]
        queries, keys, values = graph.node("Split", [graph.linear(x, parts, factors={parts[0]: each**-0.5})], 3, axis=1)
        for new, what in ((keys, "keys"), (values, "values")):
            graph.name(graph.heads(new, into, [0, 2, 1, 3]), f"new_{what}_{i}")
        known = graph.one("Concat", f"past_keys_{i}", f"new_keys_{i}", axis=2)
        mixed, _ = graph.attend(
            graph.heads(queries, into, [0, 2, 1, 3]),
            graph.one("Transpose", known, perm=[0, 1, 3, 2]),
            graph.one("Concat", f"past_values_{i}", f"new_values_{i}", axis=2),
            width,
            "mask",
        )
        x = graph.one("Add", x, graph.linear(mixed, [f"{name}.self_attn.out_proj"]))
        x = graph.layer_norm(x, f"{name}.self_attn_layer_norm", 1e-5)
        y = graph.linear(x, [f"{name}.encoder_attn.q_proj"], factors={f"{name}.encoder_attn.q_proj": each**-0.5})
        # All beams of a line look at the same image.
        mixed, look = graph.attend(graph.heads(y, per_line, [0, 2, 1, 3]), f"seen_keys_{i}", f"seen_values_{i}", width)
        looks.append(look)
        x = graph.one("Add", x, graph.linear(mixed, [f"{name}.encoder_attn.out_proj"]))
        x = graph.layer_norm(x, f"{name}.encoder_attn_layer_norm", 1e-5)
        y = graph.activation(graph.linear(x, [f"{name}.fc1"]), decoder.activation_function)
        x = graph.one("Add", x, graph.linear(y, [f"{name}.fc2"], least=_LEAST[decoder.activation_function]))
        x = graph.layer_norm(x, f"{name}.final_layer_norm", 1e-5)
    graph.name(graph.one("MatMul", graph.one("Concat", *looks, axis=1), _columns(graph, config, grid)), "attention")
    _score(graph, x, texts)
    _save_decoder(graph, decoder, grid, path)


def _embed(graph: _TrocrGraph, decoder: Any) -> str:
    """From tokens and their places, int64 (texts, T) each, to rows."""
    state, prefix = graph._weights, "decoder.model.decoder"
    tokens = graph.one("Reshape", "tokens", graph.numbers("all", [-1], np.int64))
    table = state[f"{prefix}.embed_tokens.weight"]
    scale = math.sqrt(decoder.hidden_size) if decoder.scale_embedding else 1.0
    if graph.kind == "float32":
        graph.initializers[f"{prefix}.embed_tokens.weight"] = table
        x = graph.one("Gather", f"{prefix}.embed_tokens.weight", tokens)
        if scale != 1.0:
            x = graph.one("Mul", x, graph.numbers("scale", scale))
    else:
        steps, whole = to_eight_bits(table, axis=1)
        rows = graph.one("Gather", graph.numbers(f"{prefix}.embed_tokens.weight", whole, np.int8), tokens)
        sizes = graph.one("Gather", graph.numbers(f"{prefix}.embed_tokens.steps", steps * np.float32(scale)), tokens)
        x = graph.one("Mul", graph.one("Cast", rows, to=graph.onnx.TensorProto.FLOAT), sizes)
    places = graph.one("Reshape", "places", "all")
    if decoder.use_learned_position_embeddings:
        positions = state[f"{prefix}.embed_positions.weight"][2:]  # transformers begins with the third
    else:
        positions = state[f"{prefix}.embed_positions.weights"][decoder.pad_token_id + 1 :]
    x = graph.one("Add", x, graph.one("Gather", graph.numbers("places_table", positions), places))
    return graph.layer_norm(x, f"{prefix}.layernorm_embedding", 1e-5) if decoder.layernorm_embedding else x


def _columns(graph: _TrocrGraph, config: Any, grid: tuple[int, int]) -> str:
    """A table that sums attention over the rows of patches, (S, columns): the special states count nowhere."""
    patches = np.tile(np.eye(grid[1]), (grid[0], 1))
    return graph.numbers("column_of_state", np.pad(patches, ((SPECIAL_PLACES[config.encoder.model_type], 0), (0, 0))))


def _score(graph: _TrocrGraph, x: str, texts: str) -> None:
    """Log probabilities of all tokens, float32 (texts, T, vocabulary)."""
    name = "decoder.output_projection.weight"
    if graph.kind == "float32" and np.shares_memory(
        graph._weights[name], graph._weights["decoder.model.decoder.embed_tokens.weight"]
    ):
        y = graph.one("Gemm", x, "decoder.model.decoder.embed_tokens.weight", transB=1)
    else:
        y, _ = graph._times(x, np.ascontiguousarray(graph._weights[name].T), name)
    if (bias := graph._weights.get("decoder.output_projection.bias")) is not None:
        y = graph.one("Add", y, graph.numbers("output_bias", bias))
    y = graph.one("LogSoftmax", y, axis=-1)
    graph.name(
        graph.one("Reshape", y, graph.one("Concat", texts, graph.numbers("rest", [-1], np.int64), axis=0)), "log_probs"
    )


def _save_decoder(graph: _TrocrGraph, decoder: Any, grid: tuple[int, int], path: Path) -> None:
    heads = decoder.decoder_attention_heads
    each, layers = decoder.hidden_size // heads, range(decoder.decoder_layers)
    inputs: dict[str, list[Any]] = {"tokens": ["texts", "new"], "places": ["texts", "new"]}
    inputs["mask"] = ["texts", 1, "new", "known"]
    outputs: dict[str, list[Any]] = {
        "log_probs": ["texts", "new", decoder.vocab_size],
        "attention": ["lines", heads * decoder.decoder_layers, "looks", grid[1]],
    }
    for i in layers:
        for what in ("keys", "values"):
            inputs[f"past_{what}_{i}"] = ["texts", heads, "past", each]
            outputs[f"new_{what}_{i}"] = ["texts", heads, "new", each]
        inputs[f"seen_keys_{i}"] = ["lines", heads, each, "states"]
        inputs[f"seen_values_{i}"] = ["lines", heads, "states", each]
    kinds = {"tokens": "INT64", "places": "INT64"}
    graph.save("quillread-trocr-decoder", inputs, outputs, path, kinds=kinds, beside=beside(path))
