"""What a model bundle says: a folder with bundle.yaml and the files it names.

Nothing about a model stands in the code: tensor names, shapes, mel settings and motion channels come from here.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Literal, Tuple

from pydantic import Field

from .config import Section, check, read_yaml
from .errors import ConfigError
from .mel import MelSettings


class TensorSpec(Section):
    """One input or output."""

    shape: List[int]
    """Fixed sizes."""
    dtype: Literal["float32"] = "float32"


class FileSpec(Section):
    """One file of a stage for one backend."""

    path: str
    """Beside bundle.yaml."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    soc: str = ""
    """The chip it was compiled for, as ATC calls it (Ascend310, Ascend310B4); empty: any."""


class StageSpec(Section):
    """One graph."""

    inputs: Dict[str, TensorSpec]
    outputs: Dict[str, TensorSpec]
    files: Dict[str, FileSpec]
    """Backend name -> its file."""


class MelSpec(Section):
    """See `mel.MelSettings`."""

    sample_rate: int = Field(ge=8000, le=48000)
    n_fft: int = Field(ge=64, le=4096)
    hop: int = Field(ge=16, le=4096)
    n_mels: int = Field(ge=8, le=256)
    fmin: float
    fmax: float
    floor: float = Field(gt=0)
    speech_db: float = Field(gt=0)
    clip: List[float] = Field(min_length=2, max_length=2)
    scale: float = Field(gt=0)

    def settings(self) -> MelSettings:
        """The same as what `mel` works with."""
        values = self.model_dump()
        return MelSettings(**{**values, "clip": (self.clip[0], self.clip[1])})


class FaceSpec(Section):
    """The canonical pose of `image_input`: eye centres as shares of the square."""

    size: int = Field(ge=32, le=1024)
    eye_left: List[float] = Field(min_length=2, max_length=2)
    """The eye on the left of the picture, x and y."""
    eye_right: List[float] = Field(min_length=2, max_length=2)


class WindowSpec(Section):
    """How the model walks over time."""

    mel_frames: int = Field(ge=1)
    frames: int = Field(ge=1)
    """Motion frames a window gives."""
    stride: int = Field(ge=1)
    """Motion frames from one window to the next; the rest overlaps."""
    fps: float = Field(gt=0)
    """Motion frames a second."""
    offset_s: float
    """Motion frame j speaks of the moment j / fps + offset_s."""


class StreamSpec(Section):
    """How the model walks over sound that is still arriving."""

    look_ahead_frames: int = Field(ge=1)
    """Motion frames of a window after the one that is given of it; life is sampled this many at a time."""
    prior: List[float]
    """Mean `mel.speech_shape` of the training speech, [n_mels]: what normalisation starts from."""
    noise: List[float] = Field(default_factory=list)
    """As `life.noise`, where life is sampled a few frames at a time."""


class LipsSpec(Section):
    """The directly computed channels, in the order of the output `lips`."""

    channels: List[str]
    tongue: List[int] = Field(default_factory=list)
    """Classes of the output `visemes` in which the tongue comes to the teeth, as in l, n and th; empty: not told."""
    lead_s: float = Field(0.0, ge=-0.5, le=0.5)
    """How far the lips lead the sound as the model gives them, seconds: the `align_offset` that shifts nothing."""


class ClosureSpec(Section):
    """When the output `closure` means shut lips."""

    enter: float = Field(ge=0, le=1)
    """A closure begins with a probability over this ..."""
    leave: float = Field(ge=0, le=1)
    """... and lasts while it stays over this ..."""
    max_frames: int = Field(ge=1)
    """... but no longer than this about its peak."""


class LifeSpec(Section):
    """The sampled channels, in the order of `noisy_motion`, and how they are normalised."""

    channels: List[str]
    mean: List[float]
    std: List[float]
    noise: List[float] = Field(default_factory=list)
    """Spread of the noise that sampling starts from, for each channel; empty: 1 for all. A network that is unsure of
    its events (a blink) makes too few of them; wider noise makes up for it."""


class TensorNames(Section):
    """What the model calls its inputs and outputs."""

    speech: str
    """Encoder in: normalised log-mel, [1, 1, n_mels, mel_frames]."""
    face: str
    """Encoder in: the aligned face, [1, 3, size, size], RGB, 0..1."""
    lips: str
    """Encoder out: [1, lip channels, frames]."""
    closure: str
    """Encoder out: probability that the lips are shut, [1, 1, frames]."""
    visemes: str = ""
    """Encoder out: probabilities of what the lips look like, [1, classes, frames]; only `lips.tongue` asks for them."""
    condition: str
    """Encoder out and denoiser in: what sampling goes by, [1, any, frames]."""
    noisy: str
    """Denoiser in: motion on its way from noise, [1, life channels, frames]."""
    past: str
    """Denoiser in: what was made before, and where it is known, [1, life channels + 1, frames]."""
    step: str
    """Denoiser in: 0 (noise) to 1 (motion), [1, 1]."""
    velocity: str
    """Denoiser out: [1, life channels, frames]."""


class BundleSpec(Section):
    """bundle.yaml."""

    format: Literal[1]
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    licence: str
    description: str = ""
    kind: Literal["motion"]
    """motion: the model makes facial motion and the renderer makes the picture."""
    mel: MelSpec
    face: FaceSpec
    window: WindowSpec
    stream: StreamSpec
    lips: LipsSpec
    closure: ClosureSpec
    life: LifeSpec
    tensors: TensorNames
    stages: Dict[str, StageSpec]


@dataclass(frozen=True)
class Stage:
    """A graph with its file for one backend, checked against its hash."""

    name: str
    path: Path
    inputs: Dict[str, Tuple[int, ...]]
    """Input name -> shape; all float32."""
    outputs: Dict[str, Tuple[int, ...]]
    """Output name -> shape; all float32."""
    soc: str = ""
    """The chip the file was compiled for; empty: any."""


class Bundle:
    """A bundle on disk.

    Args:
        folder: Where bundle.yaml lies.

    Raises:
        ConfigError: If bundle.yaml is missing, wrong, or does not fit together.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        source = folder / "bundle.yaml"
        self.spec = check(BundleSpec, read_yaml(source), str(source))
        self.mel = self.spec.mel.settings()
        self._check_sense(source)

    def _check_sense(self, source: Path) -> None:
        spec = self.spec
        window, life = spec.window, spec.life
        wrong: List[str] = []
        for stage in ("encoder", "denoiser"):
            if stage not in spec.stages:
                wrong.append(f"stages: has no {stage}")
        if window.stride > window.frames:
            wrong.append(f"window.stride = {window.stride}: must be at most window.frames = {window.frames}")
        per_frame = spec.mel.sample_rate / spec.mel.hop / window.fps
        if window.mel_frames != window.frames * per_frame:
            wrong.append(
                f"window.mel_frames = {window.mel_frames}: must be {window.frames * per_frame:g}, as long as its frames"
            )
        ahead = spec.stream.look_ahead_frames
        if ahead >= window.frames:
            wrong.append(f"stream.look_ahead_frames = {ahead}: must be under window.frames = {window.frames}")
        if len(spec.stream.prior) != spec.mel.n_mels:
            wrong.append(f"stream.prior: {len(spec.stream.prior)} values; must be {spec.mel.n_mels}, one for each band")
        if len(life.mean) != len(life.channels) or len(life.std) != len(life.channels):
            wrong.append(f"life: {len(life.channels)} channels, {len(life.mean)} mean, {len(life.std)} std")
        if any(s <= 0 for s in life.std):
            wrong.append(f"life.std = {life.std}: must be over 0")
        for section, noise in (("life", life.noise), ("stream", spec.stream.noise)):
            if noise and (len(noise) != len(life.channels) or min(noise) <= 0):
                wrong.append(f"{section}.noise = {noise}: must be {len(life.channels)} numbers over 0, or none")
        if not wrong:
            n, k, names = window.frames, len(life.channels), spec.tensors
            face = spec.face.size
            for stage, kind, tensor, want in (
                ("encoder", "inputs", names.speech, [1, 1, spec.mel.n_mels, window.mel_frames]),
                ("encoder", "inputs", names.face, [1, 3, face, face]),
                ("encoder", "outputs", names.lips, [1, len(spec.lips.channels), n]),
                ("encoder", "outputs", names.closure, [1, 1, n]),
                ("denoiser", "inputs", names.noisy, [1, k, n]),
                ("denoiser", "inputs", names.past, [1, k + 1, n]),
                ("denoiser", "inputs", names.step, [1, 1]),
                ("denoiser", "outputs", names.velocity, [1, k, n]),
            ):
                found = getattr(spec.stages[stage], kind).get(tensor)
                if found is None or found.shape != want:
                    has = "is missing" if found is None else f"is {found.shape}"
                    wrong.append(f"stages.{stage}.{kind}.{tensor}: {has}; must be {want}")
            if spec.lips.tongue:
                visemes = spec.stages["encoder"].outputs.get(names.visemes)
                shape, most = (visemes.shape if visemes else []), max(spec.lips.tongue)
                if len(shape) != 3 or shape[::2] != [1, n] or shape[1] <= most:
                    has = f"is {shape}" if visemes else "is missing"
                    wrong.append(
                        f"stages.encoder.outputs.{names.visemes}: {has}; lips.tongue needs [1, {most + 1} or more, {n}]"
                    )
                if min(spec.lips.tongue) < 0:
                    wrong.append(f"lips.tongue = {spec.lips.tongue}: must be classes from 0 on")
            made = spec.stages["encoder"].outputs.get(names.condition)
            taken = spec.stages["denoiser"].inputs.get(names.condition)
            if made is None or taken is None or made.shape != taken.shape:
                wrong.append(f"stages: {names.condition} must go from encoder to denoiser in one shape")
            for stage, known in (
                ("encoder", {names.speech, names.face}),
                ("denoiser", {names.condition, names.noisy, names.past, names.step}),
            ):
                for extra in sorted(set(spec.stages[stage].inputs) - known):
                    wrong.append(f"stages.{stage}.inputs.{extra}: tensors does not say what it is")
        if wrong:
            raise ConfigError("\n".join(f"{source}: {w}" for w in wrong))

    def stage(self, name: str, backend: str) -> Stage:
        """A stage's file for a backend, its hash checked.

        Raises:
            ConfigError: If the bundle has no file for this backend, or the file is not the one it names.
        """
        spec = self.spec.stages[name]
        if backend not in spec.files:
            has = ", ".join(spec.files)
            raise ConfigError(f"{self.folder}: stage {name} has no file for backend {backend}; it has: {has}")
        file = spec.files[backend]
        path = self.folder / file.path
        if path.resolve().parent != self.folder.resolve():
            raise ConfigError(
                f"{self.folder}: stages.{name}.files.{backend}.path = {file.path}: must lie in the bundle"
            )
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as e:
            raise ConfigError(f"{path}: cannot be read: {e}") from e
        if digest != file.sha256:
            raise ConfigError(f"{path}: is damaged or changed: its sha256 is {digest}, bundle.yaml says {file.sha256}")
        return Stage(
            name=name,
            path=path,
            inputs={k: tuple(t.shape) for k, t in spec.inputs.items()},
            outputs={k: tuple(t.shape) for k, t in spec.outputs.items()},
            soc=file.soc,
        )
