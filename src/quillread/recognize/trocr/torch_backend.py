"""Reads line images with TrOCR in torch, as transformers generates text."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutput

from quillread.images.fit import CanvasConfig
from quillread.models.trocr.loading import Trocr
from quillread.models.trocr.pixels import as_pair, line_pixels
from quillread.models.trocr.settings import DEFAULT_TOKENS, GenerateConfig
from quillread.recognize.trocr.backend import LinePicture, Written
from quillread.recognize.trocr.likelihood import count_positions, score_texts
from quillread.worker import at_most_cores


class TorchTrocr:
    """A `TrocrBackend`.

    Text is generated as transformers does it, from the model's own settings unless `config` says otherwise. A second
    pass over the found tokens, all at once, then gives their probabilities and the attention; it costs about as much as
    one step of the decoder for all tokens together.

    Args:
        model: In whatever mode; the network is run in evaluation mode and put back.
        config: How text is generated.
        batch_size: Most images in one call of the network.
        mixed: Number type of mixed precision, or None for that of the weights.
        threads: CPU threads while it reads, at most one a core; 0 for those of torch.
        static_cache: Keep what the decoder has computed in memory of a fixed size, which transformers needs to compile
            its steps, as it does on a GPU.
    """

    def __init__(
        self,
        model: Trocr,
        config: GenerateConfig,
        batch_size: int = 8,
        mixed: torch.dtype | None = None,
        threads: int = 0,
        *,
        static_cache: bool = False,
    ) -> None:
        self.canvas = CanvasConfig(*as_pair(model.network.config.encoder.image_size))
        self._model = model
        self._config = config
        self._batch_size = batch_size
        self._mixed = mixed
        self._threads = at_most_cores(threads)
        self._cache = {"cache_implementation": "static"} if static_cache else {}

    def write(self, lines: Iterable[LinePicture], readings: int) -> list[list[Written]]:
        """Read lines; see `TrocrBackend`."""
        waiting, written = iter(lines), []
        with self._evaluating():
            while part := [line.padded for line in islice(waiting, self._batch_size)]:
                written += self._write(part, readings)
        return written

    def spell(self, texts: Sequence[Sequence[int]]) -> list[str]:
        """Turn tokens into characters."""
        spelt: list[str] = self._model.tokenizer.batch_decode(texts, skip_special_tokens=True)
        return spelt

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        network = self._model.network
        was_training, threads = network.training, torch.get_num_threads()
        network.eval()
        # torch knows threads of the whole process only; what else runs in it must not change for our reading.
        torch.set_num_threads(self._threads or threads)
        device = next(network.parameters()).device
        context = torch.autocast(device.type, self._mixed) if self._mixed else contextlib.nullcontext()
        try:
            with torch.inference_mode(), context:
                yield
        finally:
            network.train(was_training)
            torch.set_num_threads(threads)

    def _write(self, images: Sequence[Any], readings: int) -> list[list[Written]]:
        """Read one batch."""
        network = self._model.network
        weights = next(network.parameters())
        pixels = torch.from_numpy(line_pixels(self._model.image_processor, images))
        pixels = pixels.to(weights.device, weights.dtype)
        encoded = network.encoder(pixel_values=pixels, return_dict=True).last_hidden_state
        generated = network.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            **_settings(network, self._config, readings),
            **self._cache,
        )
        return score_texts(network, encoded, generated, pixels.shape[2:])


def _settings(network: Any, config: GenerateConfig, readings: int) -> dict[str, Any]:
    """What `generate` is told: only what `config` changes of the model's own settings, and to give some readings."""
    own = network.generation_config
    told: dict[str, Any] = {
        "return_dict_in_generate": True,
        "num_return_sequences": readings,
        "use_cache": True,
    }
    if config.beams is not None or readings > 1:
        told["num_beams"] = config.count_beams(own.num_beams or 1, readings)
    if config.no_repeat_ngram_size is not None:
        told["no_repeat_ngram_size"] = config.no_repeat_ngram_size
    if config.length_penalty is not None and told.get("num_beams", own.num_beams or 1) > 1:
        told["length_penalty"] = config.length_penalty  # transformers warns of it in a greedy search
    limit = config.max_tokens
    if limit is None and own.max_length is None and own.max_new_tokens is None:
        limit = DEFAULT_TOKENS
    if limit is not None:
        limit = min(limit, count_positions(network) - 1)
        # Naming the one while the model names the other is warned of at every call.
        by_length = own.max_new_tokens is None and own.max_length is not None
        told |= {"max_length": limit + 1} if by_length else {"max_new_tokens": limit}
    return told


def ends_early(network: Any, config: GenerateConfig) -> int | None:
    """How many tokens a line may have where that is what transformers stops after by default, or fewer."""
    own = network.generation_config
    limit = config.max_tokens or own.max_new_tokens or own.max_length or DEFAULT_TOKENS
    return int(limit) if limit <= DEFAULT_TOKENS and config.max_tokens is None else None
