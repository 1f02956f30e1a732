"""Builds ONNX graphs from a codec's networks."""
