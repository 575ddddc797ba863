import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from quillread.errors import ModelError
from quillread.models.trocr.trust import check_settings

CONFIG: dict[str, Any] = {
    "model_type": "vision-encoder-decoder",
    "encoder": {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 2, "image_size": 64, "pad_token_id": None},
    "decoder": {"model_type": "trocr", "d_model": 32, "vocab_size": 269, "max_position_embeddings": 512},
}
GENERATION = {"bos_token_id": 0, "eos_token_id": [2, 3], "num_beams": 4, "max_length": 20}


def write(folder: Path, config: dict[str, Any], generation: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    save_file({"a": np.zeros((16, 32), np.float32), "b": np.zeros((269, 16), np.float32)}, folder / "model.safetensors")
    return folder


def with_part(part: str, **changes: Any) -> dict[str, Any]:
    return {**CONFIG, part: {**CONFIG[part], **changes}}


def test_settings_of_a_model_are_accepted(tmp_path: Path):
    config = with_part("decoder", _attn_implementation="eager", auto_map=None)
    check_settings(write(tmp_path, config, GENERATION))


@pytest.mark.parametrize(
    ("config", "generation", "named"),
    [
        (with_part("encoder", _attn_implementation="kernels-community/x"), GENERATION, "_attn_implementation"),
        (with_part("decoder", attn_implementation={"": "x/y"}), GENERATION, "attn_implementation"),
        ({**CONFIG, "auto_map": {"AutoModel": "x--y.z"}}, GENERATION, "auto_map"),
        ({**CONFIG, "quantization_config": {"quant_method": "x"}}, GENERATION, "quantization_config"),
        (with_part("encoder", backbone="x/y"), GENERATION, "backbone"),
        (CONFIG, {**GENERATION, "custom_generate": "x/y"}, "custom_generate"),
        (with_part("encoder", hidden_size=0), GENERATION, "hidden_size"),
        (with_part("decoder", d_model=-4), GENERATION, "d_model"),
        (with_part("decoder", vocab_size=10**9), GENERATION, "vocab_size"),
        (with_part("encoder", num_hidden_layers=10**9), GENERATION, "num_hidden_layers"),
        (with_part("encoder", image_size=20_000), GENERATION, "image_size"),
        (with_part("encoder", image_size=[64, 20_000]), GENERATION, "image_size"),
        (with_part("decoder", max_position_embeddings=10**9), GENERATION, "max_position_embeddings"),
        (CONFIG, {**GENERATION, "num_beams": 10**6}, "num_beams"),
        (CONFIG, {**GENERATION, "num_beams": "4"}, "num_beams"),
        (CONFIG, {**GENERATION, "bos_token_id": float("nan")}, "bos_token_id"),
        (CONFIG, {**GENERATION, "eos_token_id": [2, -1]}, "eos_token_id"),
        (CONFIG, {**GENERATION, "length_penalty": float("inf")}, "length_penalty"),
    ],
)
def test_settings_that_no_model_needs_are_refused_by_name(
    tmp_path: Path, config: dict[str, Any], generation: dict[str, Any], named: str
):
    with pytest.raises(ModelError, match=rf"\.json: (encoder\.|decoder\.)?{named}: "):
        check_settings(write(tmp_path, config, generation))


def test_a_run_that_starts_in_part_may_have_other_widths(tmp_path: Path):
    check_settings(write(tmp_path, with_part("decoder", d_model=64), GENERATION), allow_partial=True)
