"""The parts of the conversion from the bundle's INT8 ONNX to an Ascend chip; `models.convert` runs them."""
