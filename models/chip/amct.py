"""Calls AMCT for ONNX, in AMCT's own Python (3.7 or newer), where nothing of Sonic Edge is installed.

    python models/chip/amct.py qat MODEL SAVE_PREFIX
    python models/chip/amct.py calibrate MODEL SAVE_PREFIX DATA [--skip LAYER ...]

Both leave SAVE_PREFIX_deploy_model.onnx for ATC and SAVE_PREFIX_fake_quant_model.onnx, which onnxruntime can run with
AMCT's operators. The calls are those of the AMCT guide (hiascend.com, CANN 8.0 and 9.0, its pages of convert_qat_model,
create_quant_config, quantize_model and save_model). quantize_model and save_model stay in one process: AMCT 0.23 keeps
what it fused in memory. Not run with the real AMCT.
"""

import argparse
import os
from pathlib import Path
from typing import Sequence

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before onnxruntime is loaded; as sonic_edge does, which is not here


def qat(model: str, prefix: str) -> None:
    """A graph with Q/DQ pairs becomes one with AscendQuant and AscendDequant; its scales stay."""
    import amct_onnx as amct

    amct.convert_qat_model(model, prefix, record_file=None)


def calibrate(model: str, prefix: str, data: str, skip: Sequence[str]) -> None:
    """Quantise a float graph by the ranges of its tensors on `data`.

    Args:
        model: The float graph.
        prefix: Where the results go.
        data: Folder with a folder for each input, in each as many files: raw float32, in the order of their names.
        skip: Names of layers that stay float.
    """
    import amct_onnx as amct
    import numpy as np
    import onnxruntime as ort

    folder = Path(prefix).parent
    config, record, modified = (str(folder / name) for name in ("quant.json", "record.txt", "modified.onnx"))
    names = [i.name for i in ort.InferenceSession(model, providers=["CPUExecutionProvider"]).get_inputs()]
    files = {name: sorted(Path(data, name).glob("*.bin")) for name in names}
    n_batches = min(len(found) for found in files.values())
    if not n_batches:
        raise SystemExit(f"{data}: has no calibration data for {[name for name in names if not files[name]]}")
    amct.create_quant_config(
        config_file=config, model_file=model, skip_layers=skip, batch_num=n_batches, activation_offset=True
    )
    amct.quantize_model(config_file=config, model_file=model, modified_onnx_file=modified, record_file=record)
    session = ort.InferenceSession(modified, amct.AMCT_SO, providers=["CPUExecutionProvider"])
    shapes = {i.name: i.shape for i in session.get_inputs()}
    for batch in range(n_batches):
        session.run(None, {name: np.fromfile(files[name][batch], np.float32).reshape(shapes[name]) for name in names})
    print(f"calibrated with {n_batches} samples")
    amct.save_model(modified_onnx_file=modified, record_file=record, save_path=prefix)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="AMCT for ONNX.")
    parser.add_argument("what", choices=["qat", "calibrate"])
    parser.add_argument("model")
    parser.add_argument("prefix")
    parser.add_argument("data", nargs="?")
    parser.add_argument("--skip", nargs="*", default=[])
    args = parser.parse_args()
    if args.what == "qat":
        qat(args.model, args.prefix)
    else:
        calibrate(args.model, args.prefix, args.data, args.skip)


if __name__ == "__main__":
    main()
