"""TrOCR networks with random weights whose texts are worth comparing."""

from pathlib import Path

import torch
from fakes import write_trocr

from quillread.models.trocr.loading import Trocr, load_trocr, save_trocr


def lively(model: Trocr) -> Trocr:
    """Change random weights so that texts vary, depend on the image, and some of them end."""
    decoder = model.network.decoder
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
        positions = decoder.model.decoder.embed_positions
        (positions.weights if hasattr(positions, "weights") else positions.weight).mul_(4)
        for layer in decoder.model.decoder.layers:
            layer.encoder_attn.out_proj.weight.mul_(4)
            layer.encoder_attn.q_proj.weight.mul_(2)
        model.network.encoder.embeddings.patch_embeddings.projection.weight.mul_(3)
    shape = decoder.output_projection.weight.shape
    weight = 0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    decoder.output_projection.weight = torch.nn.Parameter(weight)
    decoder.output_projection.bias = torch.nn.Parameter(6.0 * torch.eye(shape[0])[2])
    return model


def write_lively(folder: Path) -> Path:
    """Write a tiny model whose texts depend on the image."""
    model = lively(load_trocr(write_trocr(folder.with_name(f"{folder.name}-published"), "base-stage1")))
    model.network.decoder.output_projection.bias = None  # a TrOCR has none
    save_trocr(model, folder)
    return folder
