"""What leaves the house: packed bytes, ONNX artifacts, measured latency."""
