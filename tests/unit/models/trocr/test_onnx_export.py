from pathlib import Path

import numpy as np
import pytest

from quillread.models.onnx import open_session
from quillread.models.trocr.onnx_export import _TrocrGraph
from quillread.models.trocr.onnx_network import multiplies_whole_numbers

WIDTH = 64


@pytest.mark.skipif(not multiplies_whole_numbers(), reason="this processor runs out of bits")
@pytest.mark.parametrize(("kind", "least"), [("gelu", -0.17), ("relu", 0.0)])
def test_eight_bits_behind_an_activation_begin_at_its_least_value(tmp_path: Path, kind: str, least: float):
    draws = np.random.default_rng(0)
    weight = draws.normal(size=(WIDTH, WIDTH)).astype(np.float32)
    values = draws.normal(scale=2.0, size=(200, WIDTH)).astype(np.float32)
    found = {}
    for name, known in (("around zero", None), ("from the least", least)):
        graph = _TrocrGraph({"layer.weight": weight, "layer.bias": np.ones(WIDTH, np.float32)}, "int8")
        active = graph.activation("x", kind)
        graph.name(active, "active")
        graph.name(graph.linear(active, ["layer"], least=known), "y")
        outputs = {"active": ["rows", WIDTH], "y": ["rows", WIDTH]}
        graph.save("layer", {"x": ["rows", WIDTH]}, outputs, tmp_path / "layer.onnx")
        active, y = open_session(tmp_path / "layer.onnx", 1).run(["active", "y"], {"x": values})
        assert active.min() >= least - 1e-4
        # What the weights lose is the same for both.
        steps = np.abs(weight).max(1, keepdims=True) / 127
        found[name] = np.abs(y - (active @ (np.rint(weight / steps) * steps).T + 1)).mean()
    assert 0 < found["from the least"] < 0.6 * found["around zero"]
