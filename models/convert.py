"""From a bundle's INT8 ONNX to a bundle for one Ascend chip.

    python -m models.convert --soc Ascend310B4 [--bundle FOLDER] [--route qat|calibrate|lite|float] [--dry-run] ...

Runs where CANN (atc), AMCT for ONNX and MindSpore Lite's converter are installed; `--dry-run` runs anywhere, shows
every command and runs none. A second call continues where the first one ended. `models/README.md` describes the routes.
Never run with the real tools: `models/tests` runs it with stand-ins that accept only what is documented.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from shutil import which
from typing import List, Optional, Tuple

from models import BUILD, BUNDLE

try:
    import onnx
except ImportError as e:
    raise SystemExit(f"{e}; models.convert needs it: pip install 'sonic-edge[cpu,convert]'") from e

from models.chip import operators, steps
from models.chip.explain import MISSING, explain
from models.chip.graphs import rewritten
from models.chip.plan import CALIBRATED, ROUTES, Choice, calibration_step, float_layers, stage_steps
from models.chip.result import check_out, write_bundle
from models.chip.socs import check_soc
from sonic_edge.errors import ConfigError, SonicEdgeError
from sonic_edge.model.bundle import Bundle, Stage

BACKENDS = {"mindspore_lite": ["mindspore_lite"], "acl": ["acl"], "both": ["acl", "mindspore_lite"]}


def read_choice(argv: Optional[List[str]]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m models.convert", description="Compile a bundle for an Ascend chip."
    )
    parser.add_argument(
        "--soc", required=True, help="the chip, as ATC calls it: Ascend310, Ascend310B4, Ascend310P3 ..."
    )
    parser.add_argument(
        "--bundle", type=Path, default=BUNDLE, help="folder with bundle.yaml (default: the shipped one)"
    )
    parser.add_argument("--out", type=Path, help="the new bundle (default: models/build/chip/NAME-SOC)")
    parser.add_argument("--in-place", action="store_true", help="change --bundle itself instead of making another")
    parser.add_argument("--route", choices=ROUTES, default="qat")
    parser.add_argument("--backend", choices=list(BACKENDS), help="default: both; with route lite mindspore_lite")
    parser.add_argument("--dry-run", action="store_true", help="show every command, run none")
    parser.add_argument("--work", type=Path, help="folder for what is between (default: models/build/chip/work/...)")
    parser.add_argument("--amct-python", default="python3", help="the Python that has amct_onnx (default: python3)")
    parser.add_argument("--trained", type=Path, help="folder of fp32 graphs for calibrate and lite "
                        "(default: models/build/trained if it is there, else the INT8 graphs dequantised)")  # fmt: skip
    parser.add_argument("--speech", type=Path, help="folder of recordings to calibrate with (default: the sample)")
    parser.add_argument("--portraits", type=Path, help="folder of photos to calibrate with (default: the sample)")
    parser.add_argument("--samples", type=int, default=100, help="calibration samples of each graph (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="which samples (default: 0)")
    args = parser.parse_args(argv)
    args.backend = args.backend or ("mindspore_lite" if args.route == "lite" else "both")
    if args.route == "lite" and args.backend != "mindspore_lite":
        parser.error(f"--backend {args.backend}: route lite makes no .om, only a .mindir for mindspore_lite")
    if args.in_place and args.out:
        parser.error("--in-place and --out exclude each other")
    if args.samples < 1:
        parser.error(f"--samples {args.samples}: at least 1 is needed")
    if wrong := check_soc(args.soc):
        parser.error(wrong)
    return args


def choose(args: argparse.Namespace, bundle: Bundle) -> Choice:
    """Make every path absolute: the tools run in folders of their own."""
    label = f"{bundle.spec.name}-{args.soc}"
    trained = args.trained or (BUILD / "trained" if _has_trained(BUILD / "trained", bundle) else None)
    choice = Choice(
        bundle=args.bundle.resolve(),
        work=(args.work or BUILD / "chip" / "work" / f"{label}-{args.route}").resolve(),
        soc=args.soc,
        route=args.route,
        wrap=args.backend != "acl",
        amct_python=args.amct_python,
        samples=args.samples,
        seed=args.seed,
        trained=trained.resolve() if trained else None,
        speech=args.speech.resolve() if args.speech else None,
        portraits=args.portraits.resolve() if args.portraits else None,
    )
    if any(mark in str(choice.work) for mark in ",:; '\""):
        raise ConfigError(f"--work {choice.work}: the tools' lists are split at , : ; blank and quotes; choose another")
    return choice


def _has_trained(folder: Path, bundle: Bundle) -> bool:
    return all((folder / f"{name}.onnx").is_file() for name in bundle.spec.stages)


def examine(choice: Choice, stage: Stage) -> Tuple[Stage, List[str]]:
    """Check a graph against what the tools accept, before any is run.

    Returns:
        The stage with its tensors in the graph's order; the layers that stay float.

    Raises:
        ConfigError: If something is known to be refused, naming what and whose rule it is.
    """
    path = choice.source(stage)
    try:
        source, quantised = (onnx.load(str(p)) for p in (path, stage.path))
        form = rewritten(source, choice.form == "qat")
        ordered = operators.in_graph_order(form, stage)
    except Exception as e:  # onnx has no error of its own for a file that is not ONNX
        raise ConfigError(f"{path}: cannot be converted: {e}") from e
    if wrong := operators.problems(form, choice.route):
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in wrong))
    for remark in operators.remarks(form):
        print(f"# note: {stage.name}: {remark}")
    return ordered, float_layers(quantised, form)


def missing_tools(plan: List[steps.Step], amct_python: str) -> List[str]:
    """The programs of the steps that are missing, and how to get them."""
    tools = dict.fromkeys(step.tool for step in plan)
    missing = [MISSING[tool] for tool in ("atc", "converter_lite") if tool in tools and not which(tool)]
    if "amct" in tools:
        try:
            found = subprocess.run([amct_python, "-c", "import amct_onnx"], capture_output=True, text=True, check=False)
            said = (found.stderr.strip().splitlines() or ["import amct_onnx fails"])[-1:] if found.returncode else []
        except OSError as e:
            said = [str(e)]
        missing += [f"{amct_python}: {line}: {MISSING['amct']}" for line in said]
    return missing


def convert(args: argparse.Namespace) -> None:
    """The whole road.

    Raises:
        ConfigError: If the bundle, a graph or a setting is wrong.
        StepError: If a tool is missing or a step fails.
    """
    bundle = Bundle(args.bundle)
    choice = choose(args, bundle)
    out = choice.bundle if args.in_place else (args.out or BUILD / "chip" / f"{bundle.spec.name}-{args.soc}").resolve()
    if args.route in CALIBRATED and bundle.spec.kind != "motion":
        raise ConfigError(
            f"{bundle.folder}: is of kind {bundle.spec.kind}; calibration data is for kind motion: take --route float"
        )
    check_out(bundle, args.soc, args.route, out)
    stages = [bundle.stage(name, "cpu") for name in bundle.spec.stages]
    data = calibration_step(choice, [stage.path for stage in stages]) if args.route in CALIBRATED else None
    results = {stage.name: stage_steps(choice, *examine(choice, stage), data) for stage in stages}
    plan = ([data] if data else []) + [step for result in results.values() for step in result.steps]
    missing = missing_tools(plan, args.amct_python)
    if args.dry_run:
        for step in plan:
            print(f"\n# {step.name}{', done before' if steps.is_done(step) else ''}\nmkdir -p {step.part}")
            for name, text in step.texts.items():
                print(f"cat >{step.part / name} <<'END'\n{text}END")
            print(f"cd {step.part} && {step.shown}\nmv -T {step.part} {step.folder}")
        print(f"\n# then {out / 'bundle.yaml'} names {', '.join(BACKENDS[args.backend])} for {args.soc}")
        print("".join(f"\nNOT HERE: {line}" for line in missing) or "\nevery tool is here", flush=True)
        return
    if missing:
        raise steps.StepError("\n".join(missing))
    with steps.alone(choice.work) as lock:
        for step in plan:
            if steps.is_done(step):
                print(f"{step.name}: done before")
                continue
            print(f"{step.name}\n  $ {step.shown}", flush=True)
            steps.run(step, explain, lock)
    backends = BACKENDS[args.backend]
    made = {
        stage: {name: step.output(file) for name, (step, file) in result.files.items() if name in backends}
        for stage, result in results.items()
    }
    write_bundle(bundle, made, choice.soc, choice.route, out)
    print(f"{out}: {', '.join(backends)} for {args.soc}, by route {args.route}")
    print("not tried on the chip yet: `board/first-light.sh` compares it with the CPU backend there")


def main(argv: Optional[List[str]] = None) -> int:
    """The command line.

    Returns:
        0 done; 1 a tool is missing or failed; 2 the command line is wrong; 78 the bundle or a graph is wrong.
    """
    args = read_choice(argv)
    try:
        convert(args)
    except steps.StepError as e:
        print(e, file=sys.stderr)
        return 1
    except SonicEdgeError as e:
        print(e, file=sys.stderr)
        return e.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command continues from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
