"""The trainer: transformers' Trainer over the plan, with validation through the recogniser."""

import contextlib
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, reduce
from torch.utils.data import DataLoader
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from quillread.evaluate.metrics import score_line, summarise
from quillread.models.checkpoint import ModelInfo
from quillread.recognize.recognizer import LineRecognizer
from quillread.train.compact_model import CompactForTraining, TorchBackend
from quillread.train.lines import ValidationSet


class LineTrainer(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Trains on a loader made beforehand and validates by reading lines."""

    control: TrainerControl

    def __init__(
        self,
        model: CompactForTraining,
        args: TrainingArguments,
        loader: DataLoader[Any],
        validation: Sequence[ValidationSet],
        info: ModelInfo,
        callbacks: list[TrainerCallback],
    ) -> None:
        # The data sets are given for the trainer's own checks only: the loader and `evaluate` below use them.
        super().__init__(
            model=model,
            args=args,
            callbacks=callbacks,
            train_dataset=loader.dataset,
            eval_dataset=loader.dataset,
        )
        self._loader = loader
        self._validation = validation
        self._info = info
        # Both of these print the log to stdout, which is for results.
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        if not args.disable_tqdm:
            self.add_callback(ShowProgress())

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The loader of the plan, shared out over the processes."""
        loader: DataLoader[Any] = self.accelerator.prepare(self._loader)
        return loader

    def recognizer(self) -> LineRecognizer:
        """The network as it is now, as a recogniser; in the precision of the training."""
        mixed = torch.bfloat16 if self.args.bf16 else torch.float16 if self.args.fp16 else None
        network = self.accelerator.unwrap_model(self.model).network
        return LineRecognizer(TorchBackend(network, mixed), self._info, batch_size=16)

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Read the validation lines; report CER and WER of all, and CER of each source."""
        recognizer = self.recognizer()
        metrics: dict[str, float] = {}
        everything = []
        for part in self._validation:
            transcripts = recognizer.read([sample.image for sample in part.samples])
            scores = [score_line(s.text, t.text) for s, t in zip(part.samples, transcripts, strict=True)]
            metrics[f"{metric_key_prefix}_{part.name}_cer"] = summarise(scores)["cer_spacing"]
            everything.extend(scores)
        if everything:
            rates = summarise(everything)
            metrics[f"{metric_key_prefix}_cer"] = rates["cer_spacing"]
            metrics[f"{metric_key_prefix}_wer"] = rates["wer_spacing"]
        # Processes must agree on what is best and when to stop; batch statistics differ a little between them.
        metrics = broadcast_object_list([metrics])[0]
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class ShowProgress(ProgressCallback):  # type: ignore[misc]
    """A progress bar with the log above it, all on stderr."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Write an entry of the log."""
        with contextlib.redirect_stdout(sys.stderr):
            super().on_log(*args, **kwargs)


class StopOnSignal(TrainerCallback):  # type: ignore[misc]
    """Turns Ctrl-C and termination into a checkpoint after the current step."""

    def __init__(self) -> None:
        self.stopped = False
        self._previous: dict[int, Any] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Listen for the signals; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._stop)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Give the signals back."""
        self.release()

    def release(self) -> None:
        """Give the signals back; for a training that ends in an error, too."""
        while self._previous:
            signal.signal(*self._previous.popitem())

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for a checkpoint and the end, once a signal has come."""
        if args.world_size > 1:  # all processes must leave the loop at the same step
            flag = torch.tensor(float(self.stopped), device=args.device)
            self.stopped = bool(reduce(flag, "sum") > 0)
        if self.stopped:
            control.should_save = True
            control.should_training_stop = True

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Leave out the validation if the epoch was broken off: an unbroken run would not have it."""
        if self.stopped and state.epoch % 1:
            control.should_evaluate = False
            control.should_save = False

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
