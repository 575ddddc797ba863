import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from quillread.errors import ModelError
from quillread.models.catalog import describe
from quillread.models.model_folder import ONNX_NAME
from quillread.models.onnx import OnnxBackend, _cause, session_options


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match=r"none\.onnx: cannot be loaded"):
        OnnxBackend(tmp_path / "none.onnx")


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x08\x08\x12\x00"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be loaded"):
        OnnxBackend(tmp_path / "model.onnx")


def test_a_file_that_cannot_be_opened_is_told_with_the_reason(tmp_path: Path):
    (tmp_path / "model.onnx").mkdir()  # rights count for nothing where tests run as root
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be opened: Is a directory") as caught:
        OnnxBackend(tmp_path / "model.onnx")
    assert caught.value.hint == "check the permissions of the model's files"


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime_src/core/initializer.cc:79 "
            "onnxruntime::Initializer::Initializer(const onnx::TensorProto&, bool) [ONNXRuntimeError] : 1 : FAIL : "
            "tensorprotoutils.cc:2201 GetExtDataFromTensorProto External initializer: w offset: 3072 are out of bounds"
            "\n",
            "External initializer: w offset: 3072 are out of bounds",
        ),
        (
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception: /onnxruntime_src/core/tensor.h:12 virtual "
            "onnxruntime::common::Status onnxruntime::Tensor::Check(int) const size != 0 was false.",
            "Exception: size != 0 was false.",
        ),
        ("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from d/m.onnx failed:Protobuf parsing failed.",
         "Protobuf parsing failed."),
        ("bad allocation", "bad allocation"),
    ],
)  # fmt: skip
def test_errors_of_onnxruntime_are_told_without_the_places_in_its_source(told: str, cause: str):
    assert _cause(RuntimeError(told)) == cause


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_read_in_a_line_does_not_depend_on_the_lines_beside_it(threads: int):
    entry = describe("builtin")
    rng = np.random.default_rng(0)
    lines = [rng.random((entry.info.ink.height, 64 * (1 + i % 3)), np.float32) for i in range(8)]
    backend = OnnxBackend(entry.folder / ONNX_NAME, threads)
    together = list(backend(lines))
    assert [len(columns) for columns in together] == [line.shape[1] // 4 for line in lines]
    for line, columns in zip(lines, together, strict=True):
        (alone,) = backend([line])
        assert np.array_equal(columns, alone)


def test_no_more_threads_are_started_than_there_are_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("quillread.worker.usable_cores", lambda: 2)
    assert [session_options(threads).intra_op_num_threads for threads in (0, 1, 9999)] == [0, 1, 2]
    opened: list[int] = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, threads: int) -> None:
            opened.append(threads)
            super().__init__(threads)

    monkeypatch.setattr("quillread.models.onnx.ThreadPoolExecutor", Pool)
    entry = describe("builtin")
    backend = OnnxBackend(entry.folder / ONNX_NAME, 9999)
    list(backend([np.zeros((entry.info.ink.height, 64), np.float32)] * 4))
    assert opened == [2]


def write_looping(path: Path, trips: int, start: float) -> Path:
    """Write a network of lines 64 pixels high that adds up in a loop."""
    helper, kinds = onnx.helper, onnx.TensorProto
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["sum", "step"], ["more"])],
        "body",
        [value("i", kinds.INT64, []), value("go", kinds.BOOL, []), value("sum", kinds.FLOAT, None)],
        [value("on", kinds.BOOL, []), value("more", kinds.FLOAT, None)],
        [helper.make_tensor("step", kinds.FLOAT, [1], [start])],
    )
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Loop", ["trips", "always", "mean"], ["end"], body=body),
        helper.make_node("Reshape", ["end", "shape"], ["log_probs"]),
    ]
    constants = [
        helper.make_tensor("trips", kinds.INT64, [], [trips]),
        helper.make_tensor("always", kinds.BOOL, [], [True]),
        helper.make_tensor("shape", kinds.INT64, [3], [1, 1, 1]),
    ]
    pixels = value("pixels", kinds.FLOAT, ["lines", 1, 64, "width"])
    graph = helper.make_graph(nodes, "loop", [pixels], [value("log_probs", kinds.FLOAT, [1, 1, 1])], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize("count", [1, 3])
def test_a_network_that_never_ends_is_ended_by_ctrl_c(tmp_path: Path, count: int):
    backend = OnnxBackend(write_looping(tmp_path / "loop.onnx", 2**62, 1e-9), 2)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        list(backend([np.zeros((64, 64), np.float32)] * count))


def test_weights_that_are_not_finite_are_told(tmp_path: Path):
    backend = OnnxBackend(write_looping(tmp_path / "loop.onnx", 3, float("nan")))
    with pytest.raises(ModelError, match=r"loop\.onnx: its weights are not finite numbers"):
        list(backend([np.zeros((64, 64), np.float32)]))


def test_a_network_that_fails_is_named(tmp_path: Path):
    backend = OnnxBackend(write_looping(tmp_path / "loop.onnx", 3, 1.0))
    with pytest.raises(ModelError, match=r"loop\.onnx: cannot be run"):
        list(backend([np.zeros((32, 64), np.float32)]))


def test_no_lines_have_no_columns():
    assert list(OnnxBackend(describe("builtin").folder / ONNX_NAME)([])) == []
