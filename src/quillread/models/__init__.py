"""Models: the catalog of names, model folders, the compact CTC network and its ONNX form."""
