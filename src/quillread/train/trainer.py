"""The trainer: transformers' Trainer over the plan, with validation through the recogniser."""

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object, reduce
from safetensors import SafetensorError
from torch import Tensor, nn
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

from quillread.errors import OutputError, TrainingError
from quillread.evaluate.metrics import score_line, summarise
from quillread.files import write_atomic
from quillread.train import ranks
from quillread.train.average import WeightAverage
from quillread.train.callbacks import CountSkips, EndInTime, ShowProgress, StopSpeechless
from quillread.train.checkpoint import checkpoint_folder, drop_old, find_best, seal_checkpoint
from quillread.train.config import ScheduleConfig
from quillread.train.families import LOSS_WEIGHTS, Family
from quillread.train.lines import ValidationSet
from quillread.train.memory import is_out_of_memory
from quillread.types import Transcript

log = logging.getLogger(__name__)

MOST_SKIPPED, MOST_SCALED = 10, 40
"""Steps that may be skipped in a row before the training is given up; more in fp16."""


def _drop(record: logging.LogRecord) -> bool:
    """A filter that lets nothing through."""
    return False


class LineTrainer(Trainer):  # type: ignore[misc]  # transformers is not typed
    """Trains on a loader made beforehand and validates by reading lines.

    Args:
        family: The network and all that belongs to its kind.
        args: Settings of transformers' Trainer.
        schedule: Learning rate and weight decay.
        loader: Batches of this process.
        validation: Lines that are read at each validation.
        samples: Folder for transcripts of some of them; None for none.
        micro_batch: Lines that are computed at a time; 0 for whole batches.
        most_speechless: Validations in a row that may read the same in all lines.
        callbacks: What runs beside the training.
    """

    control: TrainerControl
    optimizer: Any

    def __init__(
        self,
        family: Family,
        args: TrainingArguments,
        schedule: ScheduleConfig,
        loader: DataLoader[Any],
        validation: Sequence[ValidationSet],
        samples: Path | None,
        micro_batch: int,
        most_speechless: int,
        callbacks: list[TrainerCallback],
    ) -> None:
        # The data sets are given for the trainer's own checks only: the loader and `evaluate` below use them.
        super().__init__(
            model=family.network,
            args=args,
            callbacks=callbacks,
            train_dataset=loader.dataset,
            eval_dataset=loader.dataset,
        )
        self.family = family
        self._schedule = schedule
        self._loader = loader
        self.validation = validation
        self._samples = samples
        self.micro_batch = micro_batch
        self.keep_checkpoints = 2
        """The last ones that are kept, and the best."""
        self._average: WeightAverage | None = None
        self.clock: EndInTime | None = None
        """Of a run that ends by the clock."""
        self.skips, self.speechless = CountSkips(), StopSpeechless(most_speechless)
        self.add_callback(self.skips)
        self.add_callback(self.speechless)
        # Both of these print the log to stdout, which is for results.
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        if not args.disable_tqdm:
            self.add_callback(ShowProgress())

    def keep_average(self, decay: float) -> None:
        """Read, and end with, the average of the weights over steps; see `WeightAverage`."""
        self._average = WeightAverage(self.family.network, decay)
        self.add_callback(self._average)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The loader of the plan; its sampler gives each process its share already."""
        return self._loader

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW over the parameter groups of the family."""
        if self.optimizer is None:
            groups = self.family.groups(self._schedule)
            self.optimizer = torch.optim.AdamW(groups, lr=self._schedule.learning_rate, fused=True)
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The scheduler of the settings; where the run ends by the clock, time takes the place of steps."""
        scheduler = super().create_scheduler(num_training_steps, optimizer)
        clock = self.clock
        if clock:

            def timed(rate: Callable[[int], float]) -> Callable[[int], float]:
                return lambda step: rate(max(step, round(clock.share * num_training_steps)))

            scheduler.lr_lambdas = [timed(rate) for rate in scheduler.lr_lambdas]
        return scheduler

    def training_step(self, model: nn.Module, inputs: dict[str, Tensor], num_items_in_batch: Any = None) -> Tensor:
        """Add up the gradient of a batch, in as many parts as the memory asks for.

        Every line counts by its weight in the batch of all processes, so that neither the parts nor the number of
        processes change the result.
        """
        model.train()
        inputs = self._prepare_inputs(inputs)
        # Gradients of several processes are averaged: each must count the weight of an average process.
        total = inputs[LOSS_WEIGHTS].sum()
        if self.args.world_size > 1:
            total = reduce(total, "mean")
        lines = len(inputs[LOSS_WEIGHTS])
        while True:
            size = self.micro_batch or lines
            try:
                return self._backward(model, inputs, size, total)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                # One of several processes cannot repeat a step by itself: the others would wait for ever.
                if size == 1 or self.args.world_size > 1:
                    hint = "set a smaller micro_batch or canvas, or tuning.gradient_checkpointing=true"
                    raise TrainingError(f"{size} lines at a time do not fit into the memory", hint=hint) from error
            self.micro_batch = -(-size // 2)
            log.warning("out of memory: from here on %d lines are computed at a time", self.micro_batch)
            model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()

    def _backward(self, model: nn.Module, inputs: dict[str, Tensor], size: int, total: Tensor) -> Tensor:
        loss_sum = torch.zeros((), device=self.args.device)
        weights = inputs[LOSS_WEIGHTS]
        starts = range(0, len(weights), size)
        for start in starts:
            part = {name: value[start : start + size] for name, value in inputs.items() if name != LOSS_WEIGHTS}
            last = start == starts[-1]
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    loss = (model(**part)["losses"] * weights[start : start + size]).sum() / total
                self.accelerator.backward(loss)
            loss_sum += loss.detach().float()
        return loss_sum

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """Clip the gradient; one that is not finite is taken away, so that the step changes nothing."""
        norm: Tensor = super()._clip_grad_norm(model)
        finite = bool(torch.isfinite(norm))  # waits for the device: once a step
        # In fp16 the gradient scaler leaves such steps out itself, several at the start, until its scale fits.
        self.skips.count(finite, self.state.global_step + 1, most=MOST_SCALED if self.args.fp16 else MOST_SKIPPED)
        if not self.args.fp16 and not finite:
            self.optimizer.zero_grad(set_to_none=True)
        return norm

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the weights of a checkpoint; the other processes put nothing into its folder before they are there."""
        super().save_model(output_dir, _internal_call)
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Write the weights of a checkpoint in the way of the family, in the first process alone.

        transformers 5.23 calls this in every process; two that replace the folder would lose what the first wrote.
        """
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self.family.save_weights(folder)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write a checkpoint, bring it to the disk, and only then drop an old one."""
        output = Path(self.args.output_dir)
        folder = checkpoint_folder(output, self.state.global_step)
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()  # each process has written its random numbers
            if self.args.should_save:
                if self._average:
                    self._average.save(folder)
                seal_checkpoint(folder)
        except (OSError, SafetensorError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):
                raise
            hint = "check the free space and the permissions, then resume the run"
            raise OutputError(f"{folder}: cannot be written: {error}", hint=hint) from error
        if self.args.should_save:
            best = self.state.best_model_checkpoint
            drop_old(output, self.keep_checkpoints, Path(best) if best else None, folder)

    def _init_training_state(self, *given: Any) -> tuple[int, int]:
        """Take the state of a checkpoint; what may differ from it we check and tell ourselves, in our words."""
        comparing = logging.getLogger("transformers.trainer_utils")
        comparing.addFilter(_drop)
        try:
            begun: tuple[int, int] = super()._init_training_state(*given)
        finally:
            comparing.removeFilter(_drop)
        return begun

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Take every tensor of a checkpoint (transformers takes those whose names it finds, and says nothing)."""
        self._load_weights(Path(resume_from_checkpoint))

    def _load_weights(self, checkpoint: Path) -> None:
        self.family.load_weights(checkpoint)
        if self._average:
            self._average.load(checkpoint)

    def take_average(self) -> None:
        """Take the average of the steps up to that of the weights, if it is kept."""
        if self._average:
            self._average.take()

    def take_best(self, checkpoint: Path) -> None:
        """Take the state and the best weights of a run that has ended, which the loop of training would go on with."""
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        self._load_weights(self._find_best() or checkpoint)
        for kept in (self.skips, self.speechless):
            kept.on_train_begin(self.args, self.state, self.control)

    def _load_best_model(self) -> None:
        """Take every tensor of the best checkpoint; with none that is whole the weights stay those of the last step."""
        if best := self._find_best():
            self._load_weights(best)

    def _find_best(self) -> Path | None:
        metric, output = f"eval_{self.args.metric_for_best_model}", Path(self.args.output_dir)
        best = find_best(output, self.state.log_history, metric) if self.is_world_process_zero() else None
        name = ranks.decided_by_first(best and best.name)
        return output / name if name else None

    @property
    def mixed(self) -> torch.dtype | None:
        """Number type of mixed precision; None for float32."""
        return torch.bfloat16 if self.args.bf16 else torch.float16 if self.args.fp16 else None

    def read(self, *, limited: bool = True) -> list[list[Transcript]]:
        """Read all validation lines, shared out over the processes; every process gets all transcripts.

        Args:
            limited: Read little further than the longest of their texts, as a network that has not learnt to end its
                lines takes long, and with the numbers of the training; False to read as users will, in float32.
        """
        texts = (s.text for part in self.validation for s in part.samples) if limited else ()
        recognizer = self.family.recognizer(self.mixed if limited else None, texts)
        rank, processes = self.args.process_index, self.args.world_size
        result = []
        for part in self.validation:
            with torch.compiler.set_stance("force_eager"):  # what is compiled is compiled for training
                own = recognizer.read([sample.image for sample in part.samples[rank::processes]])
            shares = gather_object([own]) if processes > 1 else [own]
            result.append([shares[i % processes][i // processes] for i in range(len(part.samples))])
        return result

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Read the validation lines; report CER and WER of all, and CER of each source."""
        start = time.perf_counter()
        with self._average.taken() if self._average else contextlib.nullcontext():
            read = self.read()
        metrics = score_sets(self.validation, read, metric_key_prefix)
        metrics[f"{metric_key_prefix}_seconds"] = time.perf_counter() - start
        self._look_at(read)
        # Processes must agree on what is best and when to stop.
        metrics.update(broadcast_object_list([metrics])[0])
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _look_at(self, read: Sequence[Sequence[Transcript]]) -> None:
        """Notice a network that does not look at the image, and write sample transcripts."""
        self.speechless.look([t.text for transcripts in read for t in transcripts])
        if self._samples and self.is_world_process_zero():
            step = self.state.global_step
            write_atomic(self._samples / f"step-{step}.txt", samples_text(self.validation, read).encode())


def score_sets(
    sets: Sequence[ValidationSet], read: Sequence[Sequence[Transcript]], prefix: str = "eval"
) -> dict[str, float]:
    """CER and WER of all validation lines, as they are and with spacing ignored, and CER of each source."""
    metrics: dict[str, float] = {}
    everything = []
    for part, transcripts in zip(sets, read, strict=True):
        scores = [score_line(s.text, t.text) for s, t in zip(part.samples, transcripts, strict=True)]
        metrics[f"{prefix}_{part.name}_cer_spacing"] = summarise(scores)["cer_spacing"]
        everything.extend(scores)
    if everything:
        rates = summarise(everything)
        for name in ("cer", "wer", "cer_spacing", "wer_spacing"):
            metrics[f"{prefix}_{name}"] = rates[name]
    return metrics


def samples_text(sets: Sequence[ValidationSet], read: Sequence[Sequence[Transcript]], count: int = 10) -> str:
    """Put the first lines of each validation source beside what was read, for people to look at."""
    blocks = []
    for part, transcripts in zip(sets, read, strict=True):
        lines = [f"## {part.name}"]
        for sample, transcript in list(zip(part.samples, transcripts, strict=True))[:count]:
            lines += [f"{sample.id}", f"  wrote: {sample.text}", f"  read:  {transcript.text}"]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


class StopOnSignal(TrainerCallback):  # type: ignore[misc]
    """Turns Ctrl-C, termination and the end of the terminal into a checkpoint after the current step.

    A second signal ends the run at once.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.signal: int | None = None
        """The signal that came; None for none."""
        self._previous: dict[int, Any] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Listen for the signals; only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            numbers.append(signal.SIGHUP)
        for number in numbers:
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
        """Skip the validation if the epoch was broken off: an unbroken run would not have it."""
        if self.stopped and state.epoch % 1:
            control.should_evaluate = False
            control.should_save = False

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            if number != getattr(signal, "SIGHUP", None):  # the system and the shell send one each
                self.release()
                signal.raise_signal(number)  # to whom it would have gone without this run
            return
        self.stopped, self.signal = True, number
        log.warning("the run stops after this step, with a checkpoint; a second signal ends it without one")
