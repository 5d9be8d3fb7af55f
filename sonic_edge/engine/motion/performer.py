"""The performer for bundles of kind motion: the model predicts how the face moves, the renderer warps the photo."""

from typing import FrozenSet, Iterator, Mapping

from ...config import Controls
from ...media import QUIET, FloatArray, Image, Motion, Portrait, Speech
from ...model.backends.base import Session
from ...model.bundle import Bundle
from ...model.mel import MelStream
from ..performer.base import LivePoses, OnProgress
from ..renderer import Renderer
from ..sheet import MotionChooser
from .idle import idle_motion
from .network import SonicNet, face_image
from .shape import MotionShaper, shape_motion
from .streaming import SonicStream


class MotionPerformer:
    """See `base.Performer`.

    Args:
        bundle: The model's bundle.
        encoder: Session of its stage `encoder`.
        denoiser: Session of its stage `denoiser`.
    """

    ignores: FrozenSet[str] = frozenset()

    def __init__(self, bundle: Bundle, encoder: Session, denoiser: Session) -> None:
        self.bundle = bundle
        self.net = SonicNet(bundle, encoder, denoiser)
        window = bundle.motion.window
        self.window_s = window.frames / window.fps

    def warm_up(self) -> None:
        """See `base.Performer`."""
        self.net.warm_up()

    def perform(
        self, portrait: Portrait, speech: Speech, controls: Controls, n_frames: int, progress: OnProgress
    ) -> "MotionPerformance":
        """See `base.Performer`."""
        face = face_image(portrait, self.bundle)
        raw = self.net.motion(speech, face, controls.inference_steps, controls.seed, progress)
        closure = self.bundle.motion.closure
        return MotionPerformance(portrait, shape_motion(raw, closure, controls, n_frames, speech.duration_s))

    def idle(self, portrait: Portrait, controls: Controls, progress: OnProgress) -> "MotionPerformance":
        """See `base.Performer`."""
        return MotionPerformance(portrait, idle_motion(self.net, face_image(portrait, self.bundle), controls, progress))

    def live(self, portrait: Portrait, controls: Controls) -> "LiveMotion":
        """See `base.Performer`."""
        return LiveMotion(self.net, portrait, controls)


class MotionPerformance:
    """A portrait and its motion; see `base.Performance`."""

    def __init__(self, portrait: Portrait, motion: Motion) -> None:
        self._portrait = portrait
        self._motion = motion

    def __len__(self) -> int:
        return len(self._motion)

    def frames(self) -> Iterator[Image]:
        """See `base.Performance`."""
        renderer, motion = Renderer(self._portrait), self._motion
        return (renderer.frame(motion.frame(i)) for i in range(len(motion)))

    def chooser(self, level: FloatArray, rate: float) -> MotionChooser:
        """See `base.Performance`: frames are chosen by the intended motion."""
        return MotionChooser(self._portrait, self._motion)


class LiveMotion:
    """See `base.LivePerformance`; a pose is a dict of channel -> value."""

    def __init__(self, net: SonicNet, portrait: Portrait, controls: Controls) -> None:
        spec, settings = net.bundle.motion, net.bundle.mel
        self._mel = MelStream(settings, at_once=spec.window.mel_frames // spec.window.frames)
        self._stream = SonicStream(net, face_image(portrait, net.bundle), controls.inference_steps, controls.seed)
        self._shaper = MotionShaper(spec.closure, controls)
        self._renderer = Renderer(portrait)
        self.fps = spec.window.fps
        self.lead_s = spec.lips.lead_s
        n_ahead = spec.stream.look_ahead_frames + 1
        half_s = (settings.n_fft / 2 - settings.hop) / settings.sample_rate
        self.look_ahead_s = n_ahead / self.fps - spec.window.offset_s + half_s
        """The model's look-ahead plus half a mel window."""

    def push(self, samples: FloatArray) -> LivePoses:
        """See `base.LivePerformance`."""
        raw = self._stream.push(self._mel.push(samples))
        motion = self._shaper.push(raw)
        is_spoken = any(row[QUIET] < 0.5 for row in map(raw.frame, range(len(raw))))
        return LivePoses(motion.start_s, [motion.frame(i) for i in range(len(motion))], is_spoken)

    def draw(self, pose: Mapping[str, float]) -> Image:
        """See `base.LivePerformance`."""
        return self._renderer.frame(pose)
