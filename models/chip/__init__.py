"""What the road from the bundle's INT8 ONNX to an Ascend chip is made of; `models.convert` walks it."""
