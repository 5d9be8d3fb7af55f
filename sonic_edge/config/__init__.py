"""Settings: immutable sections, read from one YAML file, with every mistake reported at once.

The docstring under each field is its help: it is the comment in the example file and part of the error message.
"""

import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List, Literal, Mapping, Optional, Type, TypeVar, Union

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from ..errors import ConfigError
from .mistakes import allowed, explain, short


def share_dir() -> Path:
    """The folder in which set-up installs all but Python code: model bundles, face detection, samples."""
    return Path(sys.prefix) / "share" / "sonic-edge"


class Section(BaseModel):
    """A section of the settings; unknown names and wrong types are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


SectionT = TypeVar("SectionT", bound=Section)


def _unit(unit: str) -> Dict[str, Any]:
    return {"unit": unit}


class Controls(Section):
    """What a person can choose for one video. The names are those of Sonic's own user controls."""

    duration: Union[Literal["auto"], PositiveFloat] = "auto"
    """Length of the video, seconds. auto is exactly the recording; any other length is refused, because it would cut
    or freeze."""
    min_resolution: int = Field(512, ge=128, le=1024, multiple_of=2, json_schema_extra=_unit("pixels"))
    """Short side of the video. With keep_resolution: the least it may be."""
    expand_ratio: float = Field(0.15, ge=0, le=1, json_schema_extra=_unit("of the head's size"))
    """Room left around the head on each side; 0.15 to 0.2 looks best."""
    keep_resolution: bool = False
    """Animate the face inside the whole photo instead of in a crop around it."""
    inference_steps: int = Field(25, ge=1, le=50, json_schema_extra=_unit("steps"))
    """Denoising steps for head, eyes and brows: 20 to 30; under 10 is visibly worse."""
    dynamic_scale: float = Field(1.1, ge=0, le=2)
    """How strongly the mouth and the face move; 1 leaves the motion as the model gives it."""
    motion_scale: float = Field(1.05, ge=0, le=2)
    """How strongly the head moves; 1 leaves the motion as the model gives it, 0 keeps the head still."""
    align_offset: float = Field(0.03, ge=-0.5, le=0.5, json_schema_extra=_unit("seconds"))
    """How far the lips lead the sound; 0.03 is what speakers' lips do."""
    smooth: bool = True
    """Remove frame-to-frame jitter from the motion; lip closures stay sharp."""
    fps: int = Field(25, ge=10, le=60, json_schema_extra=_unit("frames a second"))
    """Frame rate of the video."""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Another seed gives another take of head, eyes and brows. The same seed gives the same frames."""


class ModelSettings(Section):
    """Which model runs, and on what."""

    bundle: str = ""
    """Which model. Empty: the one chosen with `sonic-edge model use`; until then the one that comes with the product. A
    name or name@version: that bundle, whatever was chosen. A path: the bundle in that folder."""
    store: str = Field("/var/lib/sonic-edge/models", min_length=1)
    """Where `sonic-edge model install` keeps bundles; upgrades leave it alone."""
    backend: Literal["cpu", "mindspore_lite", "acl"] = "cpu"
    """What runs the model: cpu is onnxruntime on the processor; mindspore_lite an Ascend chip through MindSpore Lite
    (`.mindir`); acl an Ascend chip through pyACL (a bare `.om`). Never changed behind your back: if it fails, that is
    an error."""
    threads: int = Field(2, ge=1, le=64, json_schema_extra=_unit("threads"))
    """CPU threads for the model; with mindspore_lite: for the part of it that runs on the CPU."""
    device_id: int = Field(
        0,
        ge=0,
        le=63,
    )
    """Which Ascend chip, as `npu-smi info` numbers them; a board has one, 0."""
    precision: Literal["enforce_fp32", "preferred_fp32", "enforce_fp16", "enforce_origin", "preferred_optimal"] = (
        "enforce_fp16"
    )
    """How mindspore_lite compiles a `.mindir` that is not compiled yet (its precision_mode). A chip computes
    convolutions in fp16; a wrapped `.om` is compiled already, and this changes nothing."""
    provider: Literal["", "ge"] = ""
    """What compiles and runs such a `.mindir` in mindspore_lite. Empty is ACL; ge is the graph engine of the larger
    chips."""


class LabelSettings(Section):
    """The visible label that says that the video was made by AI (GB 45438-2025)."""

    text: str = Field("AI生成", min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")
    """The text on the picture. It must name both AI and generation."""
    position: Literal["top-left", "top-right", "bottom-left", "bottom-right"] = "bottom-right"
    """The corner it is in."""
    height: float = Field(0.055, ge=0.05, le=0.2, json_schema_extra=_unit("of the picture's short side"))
    """Height of the characters; the standard requires at least 0.05."""
    producer: str = Field("", max_length=200, pattern=r'^[^"\\\x00-\x1f\x7f-\x9f\u2028\u2029]*$')
    """Your code as a provider of generated content, written into each file's AIGC metadata. Empty: the report says
    so."""


class EncodeSettings(Section):
    """The video file."""

    encoder: str = Field("libx264", min_length=1, max_length=40)
    """FFmpeg's name of the H.264 encoder: libx264 runs on the processor; h264_v4l2m2m, h264_ascend and others use a
    chip (docs/VIDEO.md). It is tried before the first job, and never replaced by another without notice."""
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = "ultrafast"
    """libx264's speed. ultrafast looks as good as the others and takes a quarter of the time of faster; its files are
    up to twice as large (docs/VIDEO.md)."""
    crf: Optional[int] = Field(None, ge=0, le=40)
    """libx264's quality; lower is better. null: a value that gives a PSNR of at least 40 dB: 21 for ultrafast, 17 for
    veryfast and 18 for the others."""
    bits_per_pixel: float = Field(0.25, ge=0.01, le=8, json_schema_extra=_unit("bits"))
    """Bit rate of an encoder other than libx264, for each pixel of each frame: 0.25 is 1640 kbit/s for 512x512 at 25
    frames a second."""
    options: List[str] = []
    """More options for an encoder other than libx264, by FFmpeg's names, for example [rc_mode=1, profile=2]."""
    audio_kbps: int = Field(128, ge=32, le=320, json_schema_extra=_unit("kbit/s"))
    """Bit rate of the sound (AAC)."""


class LimitSettings(Section):
    """Largest inputs, so that no file can use up the memory or block the box for a day."""

    portrait_bytes: int = Field(64 << 20, ge=1, json_schema_extra=_unit("bytes"))
    """Largest photo file."""
    portrait_pixels: int = Field(64_000_000, ge=1, json_schema_extra=_unit("pixels"))
    """Largest photo."""
    speech_bytes: int = Field(2 << 30, ge=1, json_schema_extra=_unit("bytes"))
    """Largest recording file."""
    speech_s: float = Field(1800.0, gt=0, json_schema_extra=_unit("seconds"))
    """Longest recording."""
    min_speech_s: float = Field(0.3, gt=0, json_schema_extra=_unit("seconds"))
    """Shortest recording."""


class SpoolSettings(Section):
    """The watched folders."""

    root: str = Field("/var/spool/sonic-edge", min_length=1)
    """Holds inbox, work, outbox and failed; made when missing."""
    portrait: Optional[str] = None
    """The photo for a recording that comes without one. null: such a recording fails, and its reason says so."""
    keep_inputs: bool = True
    """Keep a finished job's photo and recording in outbox beside the result; false deletes them."""
    settle_s: float = Field(1.0, ge=0.1, le=60, json_schema_extra=_unit("seconds"))
    """A file whose size has not changed for this long is complete."""
    pair_s: float = Field(10.0, ge=0, le=600, json_schema_extra=_unit("seconds"))
    """How long a recording waits for a photo of the same name before spool.portrait is used. A photo without a
    recording stays where it is."""
    poll_s: float = Field(0.5, ge=0.05, le=60, json_schema_extra=_unit("seconds"))
    """How often the inbox is scanned. This works on every file system, network shares included."""


class WorkerSettings(Section):
    """The process that opens untrusted files, runs the model and renders the video."""

    memory_mb: int = Field(1500, ge=500, json_schema_extra=_unit("MB"))
    """Its memory limit. The model alone takes about 350; a job at 1024 pixels about 600; a large photo more."""
    stall_s: float = Field(60.0, ge=1, json_schema_extra=_unit("seconds"))
    """Without progress for this long it is killed, which counts as an attempt at the job."""
    start_s: float = Field(300.0, ge=1, json_schema_extra=_unit("seconds"))
    """Loading the model may take this long; then the worker is killed and started again."""
    job_s: float = Field(14400.0, ge=10, json_schema_extra=_unit("seconds"))
    """A job may take this long, progress or not; then the worker is killed, which counts as an attempt."""
    attempts: int = Field(3, ge=1, le=10, json_schema_extra=_unit("attempts"))
    """How often a job is tried in all when the worker dies on it."""


class DiskSettings(Section):
    """The disk that holds the spool, and how long results are kept on it."""

    floor_mb: int = Field(500, ge=10, json_schema_extra=_unit("MB"))
    """With less free space than this no job is started; with less than half of it the running job is stopped, which
    counts as an attempt. Jobs continue by themselves when there is room again."""
    keep_days: Optional[float] = Field(90.0, gt=0, json_schema_extra=_unit("days"))
    """Results older than this are deleted from outbox. null: never because of their age."""
    keep_mb: Optional[int] = Field(8000, ge=1, json_schema_extra=_unit("MB"))
    """When outbox holds more than this its oldest results are deleted. null: never because of their size."""


class MetricsSettings(Section):
    """Metrics for a monitoring system: a file in Prometheus' text format."""

    path: Optional[str] = ""
    """The file, for example in the folder that node_exporter's textfile collector reads; the daemon must be
    allowed to write there. Empty: run/sonic-edge.prom in the spool. null: none."""
    every_s: float = Field(15.0, ge=1, json_schema_extra=_unit("seconds"))
    """How often it is written."""


class MicrophoneSettings(Section):
    """Where live sound comes from."""

    device: Union[int, str] = ""
    """Part of the device's name, or its number, as `sonic-edge devices` lists it; empty: the system's default."""
    block_s: float = Field(0.01, ge=0.005, le=0.1, json_schema_extra=_unit("seconds"))
    """Sound is read from the device in blocks this long; shorter ones cost more processor time and delay less."""
    buffer_s: float = Field(2.0, ge=0.5, le=30, json_schema_extra=_unit("seconds"))
    """Length of the buffer for sound that is not processed yet; if it overflows the oldest sound is dropped and
    counted."""
    silent_s: float = Field(2.0, ge=0.5, le=60, json_schema_extra=_unit("seconds"))
    """A device that delivers nothing for this long counts as unplugged."""


class SpeakerSettings(Section):
    """Where live sound goes to: the screen's own loudspeaker."""

    device: Union[int, str, None] = ""
    """Part of the device's name, or its number; empty: the system's default; null: no sound. If the microphone
    picks up the loudspeaker it howls: use null, a headset or an echo-cancelling source."""
    screen_s: float = Field(0.01, ge=-0.5, le=1, json_schema_extra=_unit("seconds"))
    """Delay of the screen; the sound is delayed as much. Televisions take 0.02 to 0.1 more."""


class CameraSettings(Section):
    """Where snapshots come from."""

    device: Union[int, str, None] = None
    """Number of a V4L2 camera, its path (/dev/video0), or a video file to take pictures from; null: no camera, the
    configured portrait speaks."""
    width: int = Field(1280, ge=160, le=4096, json_schema_extra=_unit("pixels"))
    """Requested from the camera; it may deliver another size."""
    height: int = Field(720, ge=120, le=4096, json_schema_extra=_unit("pixels"))
    """Requested from the camera; it may deliver another size."""
    warm_up_s: float = Field(0.8, ge=0, le=10, json_schema_extra=_unit("seconds"))
    """Pictures before this are discarded: cameras need time for exposure and focus."""
    n_pictures: int = Field(8, ge=1, le=100, json_schema_extra=_unit("pictures"))
    """How many pictures are taken; the sharpest that shows one face is used."""
    timeout_s: float = Field(8.0, ge=1, le=60, json_schema_extra=_unit("seconds"))
    """A camera that has not delivered them after this time has failed."""


class LiveSettings(Section):
    """Speaking in front of the box."""

    mode: Literal["none", "record", "mirror"] = "none"
    """record: a spoken passage becomes a job like any other, and its video is played when it is done. mirror: the
    portrait speaks along with the person."""
    trigger: Literal["command", "voice"] = "command"
    """command: from `sonic-edge talk start` to `sonic-edge talk stop`. voice: record begins when somebody speaks and
    ends with silence; mirror is always on."""
    delay_s: float = Field(0.15, ge=0.05, le=2, json_schema_extra=_unit("seconds"))
    """mirror: a picture is shown, and its sound played, this long after the sound reached the microphone. If it is too
    short pictures come late and are dropped (`sonic-edge status` counts them)."""
    pause_s: float = Field(1.5, ge=0.3, le=30, json_schema_extra=_unit("seconds"))
    """record: a silence this long ends the passage."""
    longest_s: float = Field(600.0, ge=1, le=1800, json_schema_extra=_unit("seconds"))
    """record: a passage ends at the latest after this time."""


class DisplaySettings(Section):
    """The attached screen."""

    output: Literal["none", "auto", "drm", "window"] = "none"
    """none: the box has no screen. drm: directly on the display, without a desktop. window: full screen on a desktop.
    auto: window if there is a desktop, otherwise drm."""
    player: str = Field("mpv", min_length=1)
    """The mpv program: a name or a path."""
    options: List[str] = []
    """More options for mpv, for example --drm-mode=1280x720 or --audio-device=alsa/hdmi."""
    fullscreen: bool = True
    """Fill the screen; false: a window as large as the picture."""
    idle: Literal["alive", "still", "black"] = "alive"
    """What is shown between videos: the portrait breathing and blinking, a still of it, or nothing. Without
    spool.portrait: nothing."""
    clips: Literal["once", "loop", "none"] = "once"
    """Whether finished videos are played: each once, all of them in a loop, or none."""
    language: Literal["zh", "en"] = "zh"
    """Language of the texts on the screen."""
    deadline_s: float = Field(5.0, ge=1, le=60, json_schema_extra=_unit("seconds"))
    """A player that does not answer for this long is killed and started again."""


class Config(Section):
    """Everything that can be set."""

    controls: Controls = Controls()
    """The look of a video, unless its job says otherwise."""
    model: ModelSettings = ModelSettings()
    """The model."""
    label: LabelSettings = LabelSettings()
    """The visible AI label."""
    encode: EncodeSettings = EncodeSettings()
    """The video file."""
    limits: LimitSettings = LimitSettings()
    """Largest inputs."""
    spool: SpoolSettings = SpoolSettings()
    """The watched folders."""
    worker: WorkerSettings = WorkerSettings()
    """The process that renders."""
    disk: DiskSettings = DiskSettings()
    """The spool's disk."""
    live: LiveSettings = LiveSettings()
    """Speaking in front of the box."""
    microphone: MicrophoneSettings = MicrophoneSettings()
    """Where live sound comes from."""
    speaker: SpeakerSettings = SpeakerSettings()
    """Where live sound goes to."""
    camera: CameraSettings = CameraSettings()
    """Where snapshots come from."""
    display: DisplaySettings = DisplaySettings()
    """The attached screen."""
    metrics: MetricsSettings = MetricsSettings()
    """Metrics for monitoring."""


def load_config(path: Optional[Path]) -> Config:
    """Read a YAML file; None gives the defaults.

    Raises:
        ConfigError: With every mistake in the file, each on a line of its own.
    """
    if path is None:
        return Config()
    return check(Config, read_yaml(path), str(path))


def spool_root(path: Optional[Path]) -> Path:
    """The spool's folder. Other mistakes in the file are ignored, so that its daemon can still be reached.

    Raises:
        ConfigError: If the file cannot be read, or its spool.root is invalid.
    """
    data = {} if path is None else read_yaml(path)
    section = data.get("spool") if isinstance(data, dict) else None
    roots = {k: v for k, v in section.items() if k == "root"} if isinstance(section, dict) else {}
    return Path(check(SpoolSettings, roots, f"{path}: spool").root)


def read_yaml(path: Path) -> object:
    """The contents of a YAML file; an empty dictionary for an empty file.

    Raises:
        ConfigError: If it cannot be read or is not YAML.
    """
    try:
        data: object = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    except (yaml.YAMLError, ValueError, RecursionError) as e:  # the last two: an invalid date, deep nesting
        raise ConfigError(f"{path}: is not YAML: {' '.join(str(e).split())}") from e
    return {} if data is None else data


def with_controls(config: Config, controls: Mapping[str, object], source: str) -> Config:
    """A copy of the settings with some controls replaced.

    Args:
        config: The settings.
        controls: Control name -> value, as parsed from YAML.
        source: Where the controls come from, for the error message: a file, or ``--set``.

    Raises:
        ConfigError: With every mistake in the controls.
    """
    merged = {**config.controls.model_dump(), **controls}
    return config.model_copy(update={"controls": check(Controls, merged, source)})


def parse_assignments(assignments: List[str]) -> Dict[str, object]:
    """``["seed=3", "smooth=false"]`` -> ``{"seed": 3, "smooth": False}``.

    Raises:
        ConfigError: If one is not of the form key=value.
    """
    out: Dict[str, object] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {text}: must be of the form key=value, for example --set seed=3")
        try:
            out[key.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as e:
            raise ConfigError(f"--set {text}: the value is not YAML: {' '.join(str(e).split())}") from e
    return out


def check(model: Type[SectionT], data: object, source: str) -> SectionT:
    """Validate `data` as a `model`.

    Args:
        model: A section of the settings, or all of them.
        data: Decoded YAML or JSON.
        source: Where it comes from, for the error message.

    Raises:
        ConfigError: With one line for each mistake: file, key path, value, what is allowed, the most similar name.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: must hold `key: value` lines; found {type(data).__name__} {short(data)}")
    try:
        return model.model_validate(data)
    except ValidationError as e:
        lines: List[str] = []
        for error in e.errors():
            line = explain(model, error, source)
            if line not in lines:
                lines.append(line)
        raise ConfigError("\n".join(lines)) from e


def commented_yaml(config: Config) -> str:
    """The whole configuration as YAML, each setting with its help as a comment."""
    lines = ["# Sonic Edge settings. Every setting is optional; these are the values in force."]
    for name, field in Config.model_fields.items():
        section = getattr(config, name)
        lines += ["", f"# {field.description}", f"{name}:"]
        for key, sub in type(section).model_fields.items():
            help_text = " ".join((sub.description or "").split())
            lines += _wrapped(f"{help_text} ({allowed(sub)})")
            value = yaml.safe_dump(getattr(section, key), allow_unicode=True, default_flow_style=True, width=1000)
            lines.append(f"  {key}: {value.splitlines()[0]}")
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> List[str]:
    return textwrap.wrap(text, 110, initial_indent="  # ", subsequent_indent="  # ", break_long_words=False)
