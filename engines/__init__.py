"""Compiled engines: ONNX export, TensorRT build, cache, parity check, runtime."""
