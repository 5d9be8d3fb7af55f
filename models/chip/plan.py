"""The steps of each route, with every command as the vendors document it.

qat        INT8 ONNX -> Q/DQ form -> AMCT (our scales stay) -> ATC -> .om -> wrapped .mindir
calibrate  INT8 or trained ONNX -> float form -> AMCT calibration -> ATC -> .om -> wrapped .mindir
lite       float form -> MindSpore Lite's converter, which calibrates and compiles by itself -> .mindir
float      float form -> ATC -> .om -> wrapped .mindir: fp16 on the chip, nothing quantised
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import onnx

from models.chip.steps import Step
from sonic_edge.model.backends.om_config import om_config, wrap_command
from sonic_edge.model.bundle import Stage

HERE = Path(__file__).parent
ROUTES = ("qat", "calibrate", "lite", "float")
CALIBRATED = ("calibrate", "lite")
_LAYERS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Choice:
    """What to convert, and how."""

    bundle: Path
    work: Path
    """Folder for intermediate files."""
    soc: str
    route: str
    wrap: bool
    """Whether a .mindir is wanted too."""
    amct_python: str
    samples: int
    seed: int
    trained: Optional[Path]
    """Folder with <stage>.onnx in fp32, for the routes that calibrate; None: the INT8 graph, dequantised."""
    speech: Optional[Path]
    portraits: Optional[Path]

    @property
    def form(self) -> str:
        """The form of a graph (see `graphs`) for this route."""
        return "qat" if self.route == "qat" else "float"

    def source(self, stage: Stage) -> Path:
        """What the road begins with."""
        return self.trained / f"{stage.name}.onnx" if self.trained and self.route != "qat" else stage.path


@dataclass(frozen=True)
class Result:
    """Results of a stage's steps: backend name -> the step that makes its file, and that file's name."""

    steps: List[Step]
    files: Dict[str, Tuple[Step, str]]


def float_layers(quantised: onnx.ModelProto, source: onnx.ModelProto) -> List[str]:
    """Layers of `source` that stay float: those with the weights that the bundle's INT8 graph did not quantise."""
    constants = {i.name for i in quantised.graph.initializer}
    kept = {n.input[1] for n in quantised.graph.node if n.op_type in _LAYERS and n.input[1] in constants}
    return [n.name for n in source.graph.node if n.op_type in _LAYERS and n.input[1] in kept]


def calibration_step(choice: Choice, graphs: Sequence[Path]) -> Step:
    """Data for the routes that calibrate, made by running `graphs`, the bundle's files for the CPU."""
    options = [f"--samples={choice.samples}", f"--seed={choice.seed}"]
    options += [f"--speech={choice.speech}"] if choice.speech else []
    options += [f"--portraits={choice.portraits}"] if choice.portraits else []
    inputs = tuple(p for p in (*graphs, HERE / "calibration.py", choice.speech, choice.portraits) if p)
    return Step(
        "calibration data", "ours", choice.work / "calibration",
        lambda out: [
            sys.executable, str(HERE / "calibration.py"), f"--bundle={choice.bundle}", f"--out={out}", *options
        ],
        inputs, ("encoder", "denoiser", "calibration.json"),
    )  # fmt: skip


def stage_steps(choice: Choice, stage: Stage, float_names: Sequence[str], data: Optional[Step]) -> Result:
    """One graph's way.

    Args:
        choice: What is wanted.
        stage: The graph with its `cpu` file.
        float_names: `float_layers` of it.
        data: The step that makes calibration data, for the routes that calibrate.

    Returns:
        Its steps in order, and which leaves what.
    """
    name, work = stage.name, choice.work
    form, source = choice.form, choice.source(stage)
    rewrite = Step(
        f"{name}: {form} form", "ours", work / f"{name}-{form}",
        lambda out: [sys.executable, str(HERE / "graphs.py"), form, str(source), str(out / f"{name}.onnx")],
        (source, HERE / "graphs.py"), (f"{name}.onnx",),
    )  # fmt: skip
    if choice.route == "lite":
        assert data is not None
        lite = _lite_step(choice, stage, rewrite, data, float_names)
        return Result([rewrite, lite], {"mindspore_lite": (lite, f"{name}.mindir")})
    steps, model = [rewrite], rewrite.output(f"{name}.onnx")
    if choice.route != "float":
        steps.append(_amct_step(choice, stage, rewrite, data, float_names))
        model = steps[-1].output(f"{name}_deploy_model.onnx")
    atc = _atc_step(choice, stage, model)
    steps.append(atc)
    files = {"acl": (atc, f"{name}.om")}
    if choice.wrap:
        wrap = Step(
            f"{name}: wrap the .om", "converter_lite", work / f"{name}-mindir",
            lambda out: wrap_command(atc.output(f"{name}.om"), out / f"{name}.mindir", out / "om.cfg"),
            (atc.output(f"{name}.om"),), (f"{name}.mindir",), {"om.cfg": om_config(stage)},
        )  # fmt: skip
        steps.append(wrap)
        files["mindspore_lite"] = (wrap, f"{name}.mindir")
    return Result(steps, files)


def _amct_step(choice: Choice, stage: Stage, rewrite: Step, data: Optional[Step], float_names: Sequence[str]) -> Step:
    model = rewrite.output(f"{stage.name}.onnx")
    inputs: Tuple[Path, ...] = (model, HERE / "amct.py")
    rest: List[str] = []
    if data is not None:
        inputs += (data.output(stage.name),)
        rest = [str(data.output(stage.name)), "--skip", *float_names]
    what = "qat" if data is None else "calibrate"
    return Step(
        f"{stage.name}: AMCT {what}", "amct", choice.work / f"{stage.name}-amct",
        lambda out: [choice.amct_python, str(HERE / "amct.py"), what, str(model), str(out / stage.name), *rest],
        inputs, (f"{stage.name}_deploy_model.onnx",),
    )  # fmt: skip


def _atc_step(choice: Choice, stage: Stage, model: Path) -> Step:
    """ATC's parameters: "ATC Instructions", CANN 8.0 (hiascend.com) and `atc --help` in github hicann/ge ffdcbc9,
    api/atc/main_impl.cc. No --precision_mode: after AMCT it is not to be given, and what is float is fp16 by default.
    --output_type, because else the last operator's precision decides. One --input_format for all inputs."""
    four = all(len(shape) == 4 for shape in stage.inputs.values())
    shapes = ";".join(f"{name}:{','.join(map(str, shape))}" for name, shape in stage.inputs.items())
    return Step(
        f"{stage.name}: ATC", "atc", choice.work / f"{stage.name}-om",
        lambda out: [
            "atc", "--mode=0", "--framework=5", f"--model={model}", f"--output={out / stage.name}",
            f"--input_format={'NCHW' if four else 'ND'}", f"--input_shape={shapes}", "--output_type=FP32",
            f"--soc_version={choice.soc}", "--log=error",
        ],
        (model,), (f"{stage.name}.om",),
    )  # fmt: skip


def _lite_step(choice: Choice, stage: Stage, rewrite: Step, data: Step, float_names: Sequence[str]) -> Step:
    """Flags and sections as MindSpore Lite reads them: github mindspore-ai/mindspore-lite 2b28870, tools/converter/
    converter_lite/converter_flags.cc, config_parser/config_file_parser.cc and quantizer/config/full_quant.cfg. It
    takes the chip from the machine it runs on unless ge.socVersion names one (adapter/acl/.../acl_model_options.cc)."""
    folder = data.output(stage.name)
    text = "\n".join([
        "[common_quant_param]", "quant_type=FULL_QUANT", "bit_num=8", f"skip_quant_node={','.join(float_names)}",
        "[data_preprocess_param]", f"calibrate_path={','.join(f'{n}:{folder / n}' for n in stage.inputs)}",
        f"calibrate_size={choice.samples}", "input_type=BIN",
        "[full_quant_param]", "activation_quant_method=MAX_MIN", "bias_correction=true", "per_channel=true",
        "target_device=ASCEND",
        "[acl_init_options]", f"ge.socVersion={choice.soc}",
    ])  # fmt: skip
    if not float_names:
        text = text.replace("skip_quant_node=\n", "")
    model = rewrite.output(f"{stage.name}.onnx")
    return Step(
        f"{stage.name}: MindSpore Lite's converter", "converter_lite", choice.work / f"{stage.name}-mindir",
        lambda out: [
            "converter_lite", "--fmk=ONNX", f"--modelFile={model}", f"--outputFile={out / stage.name}",
            "--optimize=ascend_oriented", "--saveType=MINDIR", f"--configFile={out / 'quant.cfg'}",
        ],
        (model, folder), (f"{stage.name}.mindir",), {"quant.cfg": text + "\n"},
    )  # fmt: skip
