"""Compiles ONNX graphs into TensorRT engines."""
