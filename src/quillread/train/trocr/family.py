"""The TrOCR family under training."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.vision_encoder_decoder.modeling_vision_encoder_decoder import shift_tokens_right

from quillread.errors import ConfigError, ModelError
from quillread.images.preprocess import StepCache
from quillread.models.catalog import resolve
from quillread.models.model_folder import INFO_NAME, ModelInfo, read_info, share_weights, write_info
from quillread.models.trocr.adapters import open_trocr
from quillread.models.trocr.loading import Trocr, load_trocr, save_trocr
from quillread.models.trocr.onnx_folder import is_exported
from quillread.models.trocr.pixels import look_up_tables, set_canvas
from quillread.models.trocr.scratch import new_trocr
from quillread.recognize.recognizer import LineRecognizer
from quillread.recognize.trocr.engine import TrocrEngine
from quillread.recognize.trocr.torch_backend import TorchTrocr
from quillread.train.config import ScheduleConfig, TrainConfig
from quillread.train.families import decay_groups
from quillread.train.family_settings import SCRATCH_CANVAS
from quillread.train.trocr.form import IGNORED, TrocrForm, View
from quillread.train.trocr.tuning import (
    COLUMNS_NAME,
    ColumnHead,
    add_adapters,
    cast_norms_once,
    compile_layers,
    freeze,
    layer_rates,
    load_adapters,
    load_columns,
    merge_adapters,
    save_adapters,
    spare_activations,
)


@dataclass(frozen=True, slots=True)
class Teacher:
    """A network that another one learns from; it learns nothing itself."""

    network: Any
    """A VisionEncoderDecoderModel with the same tokens, in evaluation mode."""
    weight: float
    """How much the distance from what it says counts beside the loss of the texts."""


class TrocrForTraining(nn.Module):
    """The network with its loss.

    Args:
        network: A VisionEncoderDecoderModel.
        mask_tokens: Largest share of the decoder's input that is replaced with `mask_token` in training.
        mask_token: Token that stands for one that is not seen.
        columns: A second head, which reads the encoder's columns; None for none.
        columns_weight: How much its loss counts beside that of the decoder.
        table: What becomes of each value of uint8 pixels, float32 (3, 256); None if they come as numbers.
        teacher: A network whose probabilities of tokens are learnt beside the texts; None for none.
    """

    table: Tensor | None

    def __init__(
        self,
        network: Any,
        mask_tokens: float = 0.0,
        mask_token: int = 0,
        columns: ColumnHead | None = None,
        columns_weight: float = 0.0,
        table: Tensor | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("table", table, persistent=False)
        self.network: Any = network
        self.columns = columns
        self._teacher = teacher  # no module of this one: it is neither trained nor saved
        self._mask_tokens = mask_tokens
        self._mask_token = mask_token
        self._columns_weight = columns_weight

    def forward(self, pixel_values: Tensor, labels: Tensor, teacher_values: Tensor | None = None) -> dict[str, Tensor]:
        """Teacher forcing: for each line the mean cross-entropy of its tokens, in nats, and what else is to be learnt.

        Args:
            pixel_values: float (N, 3, h, w); or uint8 (N, 3, h, w) or (N, 1, h, w), to be looked up in the table.
            labels: int64 (N, L), padded with -100. The decoder sees them shifted by one behind its start token.
            teacher_values: Pixels on the canvas of the teacher, in the same form.
        """
        lengths = (labels != IGNORED).sum(1)
        # The decoder looks back only: columns that are padding in every line change nothing.
        labels = labels[:, : int(lengths.max())]
        inputs = shift_tokens_right(
            labels, self.network.config.pad_token_id, self.network.config.decoder_start_token_id
        )
        seen = inputs
        if self.training and self._mask_tokens:
            # Lines with nearly all tokens hidden teach to look, those with few are what reading is like.
            shares = torch.rand(len(inputs), 1, device=inputs.device) * self._mask_tokens
            hidden = torch.rand(inputs.shape, device=inputs.device) < shares
            hidden[:, 0] = False  # the start token
            inputs = inputs.masked_fill(hidden, self._mask_token)
        output = self.network(pixel_values=self._numbers(pixel_values), decoder_input_ids=inputs, use_cache=False)
        token_losses = nn.functional.cross_entropy(
            output.logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
        )
        losses = token_losses.view_as(labels).sum(1) / lengths
        if self.columns is not None:
            losses = losses + self._columns_weight * self.columns(output.encoder_last_hidden_state, labels)
        if self._teacher is not None and teacher_values is not None:
            distance = self._distance(self._teacher.network, output.logits, teacher_values, seen)
            losses = losses + self._teacher.weight * (distance * (labels != IGNORED)).sum(1) / lengths
        return {"losses": losses}

    def _numbers(self, pixels: Tensor) -> Tensor:
        if self.table is None or pixels.dtype != torch.uint8:
            return pixels
        return look_up_pixels(self.table, pixels)

    def _distance(self, teacher: Any, logits: Tensor, pixels: Tensor, tokens: Tensor) -> Tensor:
        """Kullback-Leibler divergence of each token's probabilities from those of the teacher, (N, L), in nats."""
        with torch.no_grad():
            wanted = teacher.to(logits.device)(
                pixel_values=self._numbers(pixels), decoder_input_ids=tokens, use_cache=False
            ).logits
        given, wanted = (scores.float().log_softmax(-1) for scores in (logits, wanted))
        return nn.functional.kl_div(given, wanted, reduction="none", log_target=True).sum(-1)


def look_up_pixels(table: Tensor, pixels: Tensor) -> Tensor:
    """What the image processor makes of uint8 (N, 3 or 1, h, w): float32 (N, 3, h, w)."""
    channels = torch.arange(3, device=pixels.device)[:, None, None]
    return table[channels, pixels.int()]


class TrocrFamily:
    """A TrOCR network under training; see `Family`."""

    can_split = True

    def __init__(self, config: TrainConfig, cache: StepCache | None = None) -> None:
        self.model, start = _open_model(config)
        part = config.trocr
        tuning, canvas = part.tuning, part.canvas or start.canvas
        taught_by = _copy_as_it_reads(self.model, start, config) if tuning.distil else None
        view = View(taught_by.image_processor, start.canvas) if taught_by else None
        if canvas:
            set_canvas(self.model, canvas.height, canvas.width)
        self.form = TrocrForm(replace(config, part=replace(part, canvas=canvas)), self.model, cache, view)
        # A saved folder must not cut lines short in plain transformers either, whose default is 20 tokens.
        generation = self.model.network.generation_config
        generation.max_length, generation.max_new_tokens = self.form.max_tokens + 1, None
        self._cache = cache
        self.info = ModelInfo(
            family="trocr", name=config.name, preprocess=config.preprocess, canvas=canvas, generate=part.generate
        )
        self._lora = tuning.lora
        self._layer_decay = tuning.layer_decay
        network: nn.Module = self.model.network
        if tuning.gradient_checkpointing:
            spare_activations(self.model.network)
        if self._lora:
            network = add_adapters(self.model.network, self._lora)
        else:
            freeze(self.model.network, tuning.freeze)
        cast_norms_once(self.model.network)
        if tuning.compile:
            compile_layers(self.model.network)
        tokenizer = self.model.tokenizer
        columns = ColumnHead(self.model.network, tokenizer, config.seed) if tuning.columns else None
        hidden = tokenizer.unk_token_id if tokenizer.mask_token_id is None else tokenizer.mask_token_id
        self.network = TrocrForTraining(
            network,
            tuning.mask_tokens,
            hidden,
            columns,
            tuning.columns,
            torch.from_numpy(look_up_tables(self.model.image_processor)) if self.form.is_plain else None,
            Teacher(taught_by.network, tuning.distil) if taught_by else None,
        )

    def groups(self, schedule: ScheduleConfig) -> list[dict[str, Any]]:
        """The trainable parameters; with a learning rate for each layer if they are to differ."""
        rates = layer_rates(self.network, self._layer_decay) if self._layer_decay < 1 else None
        return decay_groups(self.network, schedule, rates)

    def recognizer(self, mixed: torch.dtype | None, texts: Iterable[str] = ()) -> LineRecognizer:
        """The network as it is now, as a recogniser."""
        info = self.info
        longest = max(map(self.form.tokens, texts), default=0)
        if longest:
            # A network that has not learnt to end its lines would fill all positions of each.
            limit = min(self.form.max_tokens, longest + longest // 4 + 8)
            info = replace(info, generate=replace(info.generate, max_tokens=limit))
        # With adapters the layers of `model.network` are replaced in place: it is the trained network either way.
        size = 128 if next(self.network.parameters()).is_cuda else 16
        backend = TorchTrocr(self.model, info.generate, batch_size=size, mixed=mixed)
        return LineRecognizer(TrocrEngine(backend, info), info, self._cache)

    def parameters(self) -> int:
        """How many values the model folder will keep: those of adapters are added to others."""
        return sum(value.numel() for name, value in self.model.network.named_parameters() if "lora_" not in name)

    def save_weights(self, folder: Path) -> None:
        """Write the adapters, or the whole model: then the checkpoint is a folder that can be read with."""
        if self._lora:
            save_adapters(self.network.network, folder)
        else:
            save_trocr(self.model, folder)
            write_info(self.info, folder)
        if self.network.columns is not None:
            save_file(self.network.columns.state_dict(), folder / COLUMNS_NAME)
            share_weights(folder)

    def load_weights(self, folder: Path) -> None:
        """Take every trained tensor from a checkpoint.

        The folder is opened as any model is: loading its tensors by their names in the file would skip those that
        transformers renames between file and network.
        """
        if self._lora:
            load_adapters(self.network.network, folder)
        else:
            state = load_trocr(folder).network.state_dict()
            self.model.network.load_state_dict(state)
        if self.network.columns is not None:
            load_columns(self.network.columns, folder)

    def save(self, folder: Path, info: ModelInfo) -> None:
        """Write the model folder; adapters are merged into the weights."""
        if self._lora:
            merge_adapters(self.network.network)
        save_trocr(self.model, folder)
        write_info(info, folder)


def _copy_as_it_reads(model: Trocr, info: ModelInfo, config: TrainConfig) -> Trocr:
    """A copy of the model that a run starts from, on the canvas on which it reads."""
    if config.start is None:
        raise ConfigError("tuning.distil: random weights have nothing to teach", hint="start from a model")
    kept = copy.deepcopy(model)
    if info.canvas:
        set_canvas(kept, info.canvas.height, info.canvas.width)
    kept.network.eval().requires_grad_(False)
    return kept


def _open_model(config: TrainConfig) -> tuple[Trocr, ModelInfo]:
    """The model that the run starts from, and what its folder says."""
    if config.start:
        folder = resolve(config.start)
        info = read_info(folder) if (folder / INFO_NAME).is_file() else ModelInfo(family="trocr", name=config.start)
        if info.family != "trocr":
            raise ModelError(f"{config.start}: is not a TrOCR model", hint=f"set family={info.family}")
        if is_exported(folder):
            raise ModelError(
                f"{config.start}: is an export, which is read with and cannot be trained",
                hint="start from the model that it was made of",
            )
        return open_trocr(folder, allow_partial=config.allow_partial), info
    canvas = config.trocr.canvas or SCRATCH_CANVAS
    model = new_trocr(config.trocr.shape, canvas, config.trocr.tokenizer, config.seed)
    return model, ModelInfo(family="trocr", name=config.name, canvas=canvas)
