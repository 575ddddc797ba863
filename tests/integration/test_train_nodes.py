"""Trainings on two machines: network namespaces here, which share nothing but the disk and one cable."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from fakes import write_folder
from runs import TINY_TROCR, gradient_gap, optimizer_tensors, train_config
from safetensors.torch import load_file

from quillread.config import dump
from quillread.images.fit import CanvasConfig
from quillread.train.finetune import finetune

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parents[1]
TEXTS = ["a bad cab", "dead bee", "a bead", "faded", "cafe", "decade", "face", "abide"]
EPOCH_STEPS, EPOCHS = 2, 2
LAST = EPOCH_STEPS * EPOCHS
ROUNDING = 1e-5
"""How far gradients are apart, as a share, where sums are rounded in another order."""
PATIENCE = 300
NAMES = tuple(f"quill-{os.getpid()}-{i}" for i in range(2))
ADDRESSES = ("10.231.77.1", "10.231.77.2")


@pytest.fixture(scope="module")
def nodes() -> Iterator[None]:
    """Two machines with a cable between them."""
    if not shutil.which("ip") or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root and the command ip, to make network namespaces")
    commands = [*(f"ip netns add {name}" for name in NAMES)]
    commands += [f"ip link add cable netns {NAMES[0]} type veth peer name cable netns {NAMES[1]}"]
    for name, address in zip(NAMES, ADDRESSES, strict=True):
        commands += [f"ip -n {name} addr add {address}/24 dev cable"]
        commands += [f"ip -n {name} link set {device} up" for device in ("lo", "cable")]
    try:
        for command in commands:
            made = subprocess.run(command.split(), capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"no network namespaces here: {command}: {made.stderr.strip()}")
        yield
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of settings whose lines are as many as the batches need."""
    place = tmp_path_factory.mktemp("data")
    lines = write_folder(place / "lines", TEXTS)
    config = train_config(
        family="trocr",
        data=(f"folder:{lines}",),
        validation=(f"folder:{lines}",),
        shape=dataclasses.replace(TINY_TROCR, dropout=0.0),
        canvas=CanvasConfig(32, 128, "pad"),
        batch_size=3,  # which two processes cannot share out evenly
        micro_batch=2,
        epoch_lines=6,
        epochs=EPOCHS,
        precision="fp32",
        workers=0,
    )
    (place / "train.json").write_text(json.dumps(dump(config)), encoding="utf-8")
    return place / "train.json"


def train(
    arguments: Sequence[str | Path], folders: Sequence[Path], *, lost: int | None = None
) -> list[tuple[int, str]]:
    """Run `quill train` on both machines, each in a folder; the exit code of each, and what it wrote to stderr.

    Args:
        arguments: Of the command.
        folders: Where the command is started, one for each machine.
        lost: The step at which the second machine is lost.
    """
    program = ["-m", "quillread.cli.main"] if lost is None else [str(TESTS / "lost_runs.py")]
    running = []
    for rank, (name, folder) in enumerate(zip(NAMES, folders, strict=True)):
        node = ["ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
        node += ["--node-rank", str(rank), "--nproc-per-node", "1", "--rdzv-endpoint", f"{ADDRESSES[0]}:29400"]
        environment = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "cable", "LOST": str(lost)}
        running.append(
            subprocess.Popen(
                [*node, *program, "train", *map(str, arguments)],
                cwd=folder,
                env={**os.environ, **environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return [(process.wait(PATIENCE), process.communicate()[1]) for process in running]


@pytest.fixture(scope="module")
def shared(nodes: None, settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on both machines."""
    place = tmp_path_factory.mktemp("shared")
    ended = train(["--config", settings, "--output", place / "run"], [place, place])
    assert [code for code, _ in ended] == [0, 0], [told[-2000:] for _, told in ended]
    return place / "run"


def unequal(one: Path, other: Path) -> list[str]:
    """Names of the tensors, of the network and of the optimiser, that are not the same bit for bit."""
    pairs = [(load_file(one / "model.safetensors"), load_file(other / "model.safetensors"))]
    pairs += [(optimizer_tensors(one), optimizer_tensors(other))]
    return [name for a, b in pairs for name in a.keys() | b.keys() if not torch.equal(a[name], b[name])]


def curve(run: Path) -> tuple[list[float], list[float]]:
    """Losses and error rates of a run."""
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    return losses, [entry[name] for entry in history for name in ("eval_cer", "eval_wer") if name in entry]


def test_two_machines_train_as_two_processes_of_one_do(shared: Path, settings: Path, tmp_path: Path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "quillread.cli.main", "train", "--config", str(settings), "--output", str(tmp_path / "run")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher, *command], env=environment, check=True, capture_output=True, timeout=PATIENCE)
    assert unequal(shared / f"checkpoint-{LAST}", tmp_path / "run" / f"checkpoint-{LAST}") == []
    assert curve(shared) == curve(tmp_path / "run")


def test_two_machines_train_as_one_process_does(shared: Path, settings: Path, tmp_path: Path):
    config = train_config(**json.loads(settings.read_text(encoding="utf-8")))
    assert finetune(config, tmp_path / "run", progress=False).finished
    assert gradient_gap(shared / f"checkpoint-{LAST}", tmp_path / "run" / f"checkpoint-{LAST}") < ROUNDING
    (losses, rates), (alone, known) = curve(shared), curve(tmp_path / "run")
    assert losses == pytest.approx(alone, rel=1e-4)
    assert rates == known


def test_a_training_whose_second_machine_is_lost_goes_on_to_the_same_result(
    shared: Path, settings: Path, tmp_path: Path
):
    (code, told), (lost, _) = train(
        ["--config", settings, "--output", tmp_path / "run"], [tmp_path, tmp_path], lost=EPOCH_STEPS + 1
    )
    assert (code != 0, lost) == (True, -9)
    assert "lost the connection to another process of the training" in told
    assert (tmp_path / "run" / f"checkpoint-{EPOCH_STEPS}" / "files.json").is_file()
    ended = train(["--resume", "--output", tmp_path / "run"], [tmp_path, tmp_path])
    assert [code for code, _ in ended] == [0, 0], [told[-2000:] for _, told in ended]
    assert unequal(shared / f"checkpoint-{LAST}", tmp_path / "run" / f"checkpoint-{LAST}") == []


def test_a_folder_that_the_machines_do_not_share_is_refused_by_all(nodes: None, settings: Path, tmp_path: Path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    for code, told in train(["--config", settings, "--output", "run"], folders):
        assert code != 0
        assert "run: is not the same folder on all machines" in told
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
