"""The compact network: its layers, its ONNX file, eight-bit weights."""
