"""Processes one request from start to finish: photo and recording in, video and report out."""

import hashlib
import math
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Type, Union

import cv2

from ..config import Config, Controls, share_dir, with_controls
from ..disk import sha256_of
from ..errors import ConfigError, DeviceError, RequestError
from ..media import Image, Portrait, Request, Speech
from ..model.bundle import Bundle
from ..model.mel import loud_level, loudness
from ..model.store import find_bundle, resolve
from .encode import try_encoder, write_video
from .label import Label, aigc_metadata
from .load import open_model
from .mirror import Mirror
from .performer import Performance, Performer
from .portrait import FaceFinder, is_single_frontal_face, make_portrait, read_image
from .prefetch import prefetch
from .sheet import Sheet
from .speech import read_speech, sound

FRAMES_AHEAD = 3
"""Frames that the renderer may be ahead of the encoder: enough to keep both busy, without filling the memory."""
DURATION_TOLERANCE_S = 0.001
"""A control `duration` may differ from the recording's length by this much, seconds."""
MIN_GOOD_STEPS = 10
"""With fewer denoising steps than this the motion is visibly worse."""


@dataclass(frozen=True)
class Progress:
    """The progress of a request."""

    stage: str
    """portrait, listening, thinking or rendering, in this order."""
    done: int
    """How many of `total` are done: windows when thinking, frames when rendering."""
    total: int


Report = Dict[str, Any]


def _ignore(_: Progress) -> None:
    pass


class Pipeline:
    """Everything that stays loaded between requests. Use it as a context manager, and from one thread at a time.

    Args:
        config: What to load, and the default controls of requests.

    Raises:
        ConfigError: If the model bundle or the face networks are missing or invalid, or there is no such encoder.
        DeviceError: If the backend cannot run the model, or the encoder does not work.
    """

    def __init__(self, config: Config) -> None:
        cv2.setNumThreads(1)  # stages run in parallel; threads inside them would compete for the same cores
        self._config = config
        with ExitStack() as stack:
            # mistakes in the settings must show before the first job, not in the middle of each
            Label(1024, 1024, config.label)
            aigc_metadata(config.label.producer, "")
            try_encoder(config.encode, config.controls.min_resolution, config.controls.fps)
            self._finder = FaceFinder(share_dir() / "face")
            self._bundle = find_bundle(config.model.bundle, Path(config.model.store))
            self._performer = open_model(self._bundle, config.model, stack)
            self._performer.warm_up()
            self._stack = stack.pop_all()

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the model."""
        self._stack.close()

    def render(self, request: Request, progress: Callable[[Progress], None] = _ignore) -> Report:
        """Make one video.

        Args:
            request: What to make, and where to write it.
            progress: Called with the progress from time to time, in this thread.

        Returns:
            The report, JSON-serialisable: inputs with sha256, controls, model, video, timings, warnings.

        Raises:
            RequestError: If this photo, this recording or these controls cannot be used.
            DeviceError: If the machine failed. No video is published then, unless only the sheet could not be written.
        """
        config = _with_request(self._config, request)
        controls = config.controls
        clock = _Clock()

        progress(Progress("portrait", 0, 1))
        with clock("portrait"):
            image = read_image(request.portrait, config.limits)
            portrait = make_portrait(image, self._finder, controls, request.portrait.name)
            height, width = portrait.image.shape[:2]
            label = Label(width, height, config.label)  # first, because it raises if it does not fit
            del image  # a large photo need not stay in memory while its small canvas is animated
        progress(Progress("listening", 0, 1))
        with clock("listening"):
            speech = read_speech(request.speech, self._bundle.mel, config.limits)
            _check_duration(controls, speech)
        n_frames = max(1, math.floor(speech.duration_s * controls.fps + 0.5))
        with clock("thinking"):
            performance = self._performer.perform(
                portrait, speech, controls, n_frames, lambda done, total: progress(Progress("thinking", done, total))
            )
            sheet = _sheet(request, portrait, performance, speech, self._bundle)
            # The mel frames grow with the recording and are no longer needed: free them before rendering.
            speech = replace(speech, mel=speech.mel[:, :0].copy())
        inputs = {
            "portrait": {"name": request.portrait.name, "sha256": _sha256(request.portrait)},
            "speech": {"name": request.speech.name, "sha256": _sha256(request.speech)},
        }
        with clock("rendering"):
            aigc = aigc_metadata(config.label.producer, _produce_id(inputs, controls, self._bundle))
            self._write(request.output, portrait, speech, performance, label, sheet, config, aigc, progress)
        if sheet is not None:
            with clock("sheet"):
                try:
                    sheet.write()
                except DeviceError as e:
                    raise DeviceError(f"{e}; the video {request.output} is done") from e

        return {
            "status": "done",
            "result": request.output.name,
            "inputs": inputs,
            "controls": controls.model_dump(),
            "model": {
                "bundle": self._bundle.spec.name,
                "version": self._bundle.spec.version,
                "backend": config.model.backend,
            },
            "sonic_edge": version("sonic-edge"),
            "speech_s": round(speech.duration_s, 6),
            "video": {
                "width": width,
                "height": height,
                "fps": controls.fps,
                "n_frames": n_frames,
                "duration_s": round(n_frames / controls.fps, 6),
            },
            "aigc": aigc,
            "timings_s": clock.seconds,
            "warnings": [*portrait.warnings, *speech.warnings, *_control_warnings(config, request, self._performer)],
        }

    def portrait(self, photo: Union[Path, Image], name: str) -> Portrait:
        """Make the portrait that speaks live or is shown on the idle screen.

        Args:
            photo: A file, or a snapshot from the camera.
            name: Its name in messages.

        Raises:
            RequestError: If it cannot be used.
        """
        image = read_image(photo, self._config.limits) if isinstance(photo, Path) else photo
        return make_portrait(image, self._finder, self._config.controls, name)

    def has_frontal_face(self, image: Image) -> bool:
        """Whether a picture from the camera shows exactly one close face that looks at the camera."""
        return is_single_frontal_face(self._finder.near_faces(image))

    def mirror(self, portrait: Portrait) -> Mirror:
        """A portrait that speaks live; only one at a time.

        Raises:
            ConfigError: If the label does not fit the picture.
        """
        height, width = portrait.image.shape[:2]
        return Mirror(self._performer, portrait, Label(width, height, self._config.label), self._config.controls)

    def warm_up(self) -> Tuple[float, float]:
        """Run the model once on silence.

        Returns:
            How long that took, and how much speech one run covers, seconds.

        Raises:
            DeviceError: If the backend fails.
        """
        since = time.monotonic()
        self._performer.warm_up()
        return time.monotonic() - since, self._performer.window_s

    @property
    def sample_rate(self) -> int:
        """Sample rate of the model's input, Hz."""
        return self._bundle.mel.sample_rate

    def still(self, photo: Path, output: Path) -> None:
        """Write the still portrait as a PNG, labelled like everything that is shown on the screen.

        Raises:
            RequestError: If the photo cannot be used.
            DeviceError: If it cannot be written.
        """
        portrait = self.portrait(photo, photo.name)
        image = portrait.image.copy()
        Label(image.shape[1], image.shape[0], self._config.label).draw(image)
        coded, data = cv2.imencode(".png", image)
        part = output.with_suffix(".part")
        try:
            part.write_bytes(data.tobytes() if coded else b"")
            part.replace(output)
        except OSError as e:
            raise DeviceError(f"{output}: cannot be written: {e}") from e

    def scene(self, photo: Path, output: Path, progress: Callable[[Progress], None] = _ignore) -> None:
        """Make the idle scene: a silent video of the portrait breathing and blinking, which loops seamlessly.

        Args:
            photo: The photo of the portrait.
            output: The MP4.
            progress: As for `render`.

        Raises:
            RequestError: If the photo cannot be used.
            DeviceError: If it cannot be written.
        """
        controls = self._config.controls
        portrait = self.portrait(photo, photo.name)
        height, width = portrait.image.shape[:2]
        label = Label(width, height, self._config.label)
        performance = self._performer.idle(
            portrait, controls, lambda done, total: progress(Progress("thinking", done, total))
        )
        n_frames = len(performance)
        aigc = aigc_metadata(self._config.label.producer, scene_key(photo, self._config)[:32])
        with prefetch(_labelled(performance.frames(), label), FRAMES_AHEAD) as frames:
            write_video(
                output,
                frames,
                n_frames,
                controls.fps,
                (width, height),
                iter(()),
                0,
                aigc,
                label.is_on,
                self._config.encode,
                lambda done: progress(Progress("rendering", done, n_frames)),
            )

    def _write(
        self,
        output: Path,
        portrait: Portrait,
        speech: Speech,
        performance: Performance,
        label: Label,
        sheet: Optional[Sheet],
        config: Config,
        aigc: str,
        progress: Callable[[Progress], None],
    ) -> None:
        """Render and encode in parallel."""
        height, width = portrait.image.shape[:2]
        n_frames = len(performance)
        with prefetch(_labelled(performance.frames(), label), FRAMES_AHEAD) as frames:
            write_video(
                output,
                frames if sheet is None else sheet.watch(frames),
                n_frames,
                config.controls.fps,
                (width, height),
                sound(speech.path),
                min(speech.n_channels, 2),
                aigc,
                label.is_on,
                config.encode,
                lambda done: progress(Progress("rendering", done, n_frames)),
            )


def _with_request(config: Config, request: Request) -> Config:
    """The settings with this request's own controls."""
    try:
        return with_controls(config, request.controls, request.controls_name)
    except ConfigError as e:
        raise RequestError(str(e)) from e


def _check_duration(controls: Controls, speech: Speech) -> None:
    asked = controls.duration
    if asked != "auto" and abs(asked - speech.duration_s) > DURATION_TOLERANCE_S:
        raise RequestError(
            f"{speech.path.name}: duration = {asked:g} s, but the recording is {speech.duration_s:.3f} s long; "
            "the video is exactly as long as the recording: leave duration at auto"
        )


def _control_warnings(config: Config, request: Request, performer: Performer) -> List[str]:
    warnings = []
    steps, bundle = config.controls.inference_steps, performer.bundle.spec.name
    idle = [name for name in request.controls if name in performer.ignores]
    if idle:
        warnings.append(f"{', '.join(idle)}: without effect: the model {bundle} paints the face itself")
    if steps < MIN_GOOD_STEPS and "inference_steps" not in performer.ignores:
        warnings.append(
            f"inference_steps = {steps}: below {MIN_GOOD_STEPS} head and eyes move visibly worse; 20 to 30 is best"
        )
    words = config.label.text.lower()
    if not ("ai" in words or "人工智能" in words) or not any(w in words for w in ("生成", "合成", "generat")):
        warnings.append(f"label.text = {config.label.text!r}: the rules require words that name both AI and generation")
    if not config.label.producer:
        warnings.append("label.producer is empty: the AIGC metadata names no provider")
    return warnings


def _sheet(
    request: Request, portrait: Portrait, performance: Performance, speech: Speech, bundle: Bundle
) -> Optional[Sheet]:
    """The contact sheet, if requested."""
    if request.sheet is None:
        return None
    level = loudness(speech.mel)
    rate = bundle.mel.frames_per_s
    return Sheet(request.sheet, portrait, performance.chooser(level, rate), level, rate, loud_level(level))


def _labelled(frames: Iterator[Image], label: Label) -> Iterator[Image]:
    for image in frames:
        label.draw(image)
        yield image


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as e:
        raise RequestError(f"{path.name}: cannot be read: {e}") from e


def scene_key(photo: Path, config: Config) -> str:
    """A hash that identifies an idle scene by photo, controls, label and model."""
    bundle = resolve(config.model.bundle, Path(config.model.store)).digest
    identity = f"{_sha256(photo)} {config.controls.model_dump_json()} {config.label.model_dump_json()} {bundle}"
    return hashlib.sha256(f"{identity} {version('sonic-edge')}".encode()).hexdigest()


def _produce_id(inputs: Report, controls: Controls, bundle: Bundle) -> str:
    """An id of the video: the same inputs, controls and model give the same one."""
    identity = f"{inputs['portrait']['sha256']} {inputs['speech']['sha256']} {controls.model_dump_json()} "
    return hashlib.sha256(f"{identity}{bundle.spec.name} {bundle.spec.version}".encode()).hexdigest()[:32]


class _Clock:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: Dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - start, 3)
