"""bundle.yaml of kind motion: the model predicts facial motion, the renderer makes the picture."""

from typing import List, Literal

from pydantic import Field

from ...config import Section
from .base import BundleSpec, Tensors


class FaceSpec(Section):
    """The canonical pose of `image_input`: eye centres as shares of the square."""

    size: int = Field(ge=32, le=1024)
    eye_left: List[float] = Field(min_length=2, max_length=2)
    """The eye on the left of the picture, x and y."""
    eye_right: List[float] = Field(min_length=2, max_length=2)


class WindowSpec(Section):
    """The windows in which the model processes sound."""

    mel_frames: int = Field(ge=1)
    frames: int = Field(ge=1)
    """Motion frames in a window."""
    stride: int = Field(ge=1)
    """Motion frames from one window to the next; the rest overlaps."""
    fps: float = Field(gt=0)
    """Motion frames a second."""
    offset_s: float
    """Motion frame j belongs to the time j / fps + offset_s."""


class StreamSpec(Section):
    """How the model runs on sound that is still arriving."""

    look_ahead_frames: int = Field(ge=1)
    """Motion frames in a window after the one that is used; life is sampled at least this many at a time."""
    prior: List[float]
    """Mean `mel.speech_shape` of the training speech, [n_mels]: the starting point of normalisation."""
    noise: List[float] = Field(default_factory=list)
    """Like `life.noise`, for life sampled a few frames at a time."""


class LipsSpec(Section):
    """The channels that speech determines, in the order of the output `lips`."""

    channels: List[str]
    tongue: List[int] = Field(default_factory=list)
    """Classes of the output `visemes` in which the tongue touches the teeth, as in l, n and th; empty: not used."""
    lead_s: float = Field(0.0, ge=-0.5, le=0.5)
    """How far the lips lead the sound in the model's output, seconds: with `align_offset` at this value nothing is
    shifted."""


class ClosureSpec(Section):
    """When the output `closure` means shut lips (as in p, b, m)."""

    enter: float = Field(ge=0, le=1)
    """A closure begins when the probability exceeds this ..."""
    leave: float = Field(ge=0, le=1)
    """... and lasts while it stays above this ..."""
    max_frames: int = Field(ge=1)
    """... but for no more than this many frames around its peak."""


class LifeSpec(Section):
    """The sampled channels (head, eyes, brows), in the order of `noisy_motion`, and how they are normalised."""

    channels: List[str]
    mean: List[float]
    std: List[float]
    noise: List[float] = Field(default_factory=list)
    """Standard deviation of the noise that sampling starts from, for each channel; empty: 1 for all. A network that is
    unsure of an event (a blink) produces too few of them; wider noise makes up for it."""


class MotionTensors(Tensors):
    """The model's names for its inputs and outputs."""

    face: str
    """Encoder input: the aligned face, [1, 3, size, size], RGB, 0..1."""
    lips: str
    """Encoder output: [1, lip channels, frames]."""
    closure: str
    """Encoder output: probability that the lips are shut, [1, 1, frames]."""
    visemes: str = ""
    """Encoder output: viseme probabilities, [1, classes, frames]; needed only for `lips.tongue`."""
    condition: str
    """Encoder output and denoiser input: what sampling is conditioned on, [1, any, frames]."""
    noisy: str
    """Denoiser input: the partly denoised motion, [1, life channels, frames]."""
    past: str
    """Denoiser input: earlier motion, and a mask of where it is known, [1, life channels + 1, frames]."""
    step: str
    """Denoiser input: 0 (noise) to 1 (motion), [1, 1]."""
    velocity: str
    """Denoiser output: [1, life channels, frames]."""


class MotionSpec(BundleSpec):
    """bundle.yaml of kind motion."""

    kind: Literal["motion"]
    face: FaceSpec
    window: WindowSpec
    stream: StreamSpec
    lips: LipsSpec
    closure: ClosureSpec
    life: LifeSpec
    tensors: MotionTensors

    def mistakes(self) -> List[str]:
        """See `BundleSpec.mistakes`."""
        window, life = self.window, self.life
        wrong = super().mistakes() + self.wrong_stages(["encoder", "denoiser"])
        if window.stride > window.frames:
            wrong.append(f"window.stride = {window.stride}: must be at most window.frames = {window.frames}")
        per_frame = self.mel.sample_rate / self.mel.hop / window.fps
        if window.mel_frames != window.frames * per_frame:
            wrong.append(
                f"window.mel_frames = {window.mel_frames}: must be {window.frames * per_frame:g}, as for window.frames"
            )
        ahead = self.stream.look_ahead_frames
        if ahead >= window.frames:
            wrong.append(f"stream.look_ahead_frames = {ahead}: must be less than window.frames = {window.frames}")
        if len(self.stream.prior) != self.mel.n_mels:
            wrong.append(f"stream.prior: {len(self.stream.prior)} values; must be {self.mel.n_mels}, one for each band")
        if len(life.mean) != len(life.channels) or len(life.std) != len(life.channels):
            wrong.append(f"life: {len(life.channels)} channels, {len(life.mean)} mean, {len(life.std)} std")
        if any(s <= 0 for s in life.std):
            wrong.append(f"life.std = {life.std}: must be more than 0")
        for section, noise in (("life", life.noise), ("stream", self.stream.noise)):
            if noise and (len(noise) != len(life.channels) or min(noise) <= 0):
                wrong.append(f"{section}.noise = {noise}: must be {len(life.channels)} numbers more than 0, or empty")
        return wrong or self._wrong_tensors()

    def _wrong_tensors(self) -> List[str]:
        """Stages whose tensors do not fit the rest."""
        n, k, names = self.window.frames, len(self.life.channels), self.tensors
        face = self.face.size
        wrong = self.wrong_shapes(
            [
                ("encoder", "inputs", names.speech, [1, 1, self.mel.n_mels, self.window.mel_frames]),
                ("encoder", "inputs", names.face, [1, 3, face, face]),
                ("encoder", "outputs", names.lips, [1, len(self.lips.channels), n]),
                ("encoder", "outputs", names.closure, [1, 1, n]),
                ("denoiser", "inputs", names.noisy, [1, k, n]),
                ("denoiser", "inputs", names.past, [1, k + 1, n]),
                ("denoiser", "inputs", names.step, [1, 1]),
                ("denoiser", "outputs", names.velocity, [1, k, n]),
            ]
        )
        tongue = self.lips.tongue
        if tongue:
            visemes = self.stages["encoder"].outputs.get(names.visemes)
            shape, most = (visemes.shape if visemes else []), max(tongue)
            if len(shape) != 3 or shape[::2] != [1, n] or shape[1] <= most:
                has = f"is {shape}" if visemes else "is missing"
                wrong.append(
                    f"stages.encoder.outputs.{names.visemes}: {has}; lips.tongue needs [1, {most + 1} or more, {n}]"
                )
            if min(tongue) < 0:
                wrong.append(f"lips.tongue = {tongue}: must be class numbers from 0 up")
        made = self.stages["encoder"].outputs.get(names.condition)
        taken = self.stages["denoiser"].inputs.get(names.condition)
        if made is None or taken is None or made.shape != taken.shape:
            wrong.append(f"stages: {names.condition} must go from encoder to denoiser, with the same shape in both")
        known = {
            "encoder": {names.speech, names.face},
            "denoiser": {names.condition, names.noisy, names.past, names.step},
        }
        return wrong + self.unknown_inputs(known)
