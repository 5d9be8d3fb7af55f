"""The studio process: one loop handles orders and sound alternately; pictures are drawn in a thread of their own."""

import contextlib
import logging
import signal
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, ContextManager, Mapping, Optional

from ... import journal
from ...config import Config, check
from ...errors import DeviceError, RequestError, SonicEdgeError
from ...process import LineReader, die_with_parent, limit_resources, take_pipes
from ...process.messages import kind_of
from ..state import MirrorState, StudioState
from .messages import Answer, Command, Failed, Ready, Recorded, Scene, Stream, commands, starts
from .reporter import Reporter

if TYPE_CHECKING:  # imported once memory is limited and a failure can be reported
    from ...engine.pipeline import Pipeline
    from ...media import Image, Portrait
    from ..record import Passage
    from .session import Session

log = logging.getLogger(__name__)

MakePipeline = Callable[[Config], ContextManager["Pipeline"]]

_TURN_S = 0.02
FACE_KEPT_S = 300.0
"""A snapshot is discarded after nobody has spoken for this long."""


def _make_pipeline(config: Config) -> "ContextManager[Pipeline]":
    from ...engine.pipeline import Pipeline

    return Pipeline(config)


def main(make_pipeline: MakePipeline = _make_pipeline) -> int:
    """Run the studio: it reads settings and orders from standard input and writes messages to standard output.

    Args:
        make_pipeline: Loads the pipeline.

    Returns:
        The exit status.
    """
    journal.set_up()
    orders, messages = take_pipes()
    lines = LineReader(orders)
    (first, *_) = lines.wait_for_one()
    start = starts.read(first)
    die_with_parent(start.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches this process too; the daemon decides
    config = check(Config, start.config, "settings from the daemon")
    limit_resources(config.worker.memory_mb)
    reporter = Reporter(messages)
    try:
        with make_pipeline(config) as pipeline, _Studio(config, pipeline, reporter, start.muted) as studio:
            reporter.send(Ready())
            _make_scene(config, pipeline, reporter, studio.report)
            studio.greet()
            studio.serve(lines)
        return 0
    except MemoryError:
        failed = Failed("ConfigError", f"worker.memory_mb = {config.worker.memory_mb}: too little for the model")
    except SonicEdgeError as e:
        failed = Failed(kind_of(e), str(e))
    except Exception as e:
        traceback.print_exc()
        failed = Failed("DeviceError", f"the studio: {type(e).__name__}: {e}")
    reporter.send(failed)
    return 1


class _Studio:
    """Runs the microphone, the camera and the live portrait.

    Args:
        config: The settings.
        pipeline: The loaded model.
        reporter: Sends messages to the daemon.
        is_muted: Whether the microphone stays closed.
    """

    def __init__(self, config: Config, pipeline: "Pipeline", reporter: Reporter, is_muted: bool) -> None:
        from .devices import ReconnectingMicrophone

        self._config = config
        self._pipeline = pipeline
        self._reporter = reporter
        self._root = Path(config.spool.root).absolute()
        self._photo = Path(config.spool.portrait).absolute() if config.spool.portrait else None
        self._is_muted = is_muted
        self._is_on = config.live.mode != "none" and config.live.trigger == "voice"
        self._microphone = ReconnectingMicrophone(config.microphone)
        self._session: Optional[Session] = None
        self._passage: Optional[Passage] = None
        self._snapshot: Optional[Image] = None
        self._snapshot_s = 0.0
        self._own: Optional[Portrait] = None  # of the configured photo, kept because it takes a second to make
        self._mirror: Optional[MirrorState] = None
        """The last session's final state."""
        self._n_sessions = 0
        self.orders: Mapping[str, Callable[[bool], None]] = {
            "talk": self._talk,
            "mute": self._mute,
            "snapshot": lambda _: self._take_snapshot(),
        }
        """The orders in `service.orders` that the studio carries out."""

    def __enter__(self) -> "_Studio":
        return self

    def __exit__(self, *_: object) -> None:
        self._be_quiet()

    def serve(self, orders: LineReader) -> None:
        """Handle orders and sound alternately until the daemon exits."""
        while True:
            try:
                lines = orders.take(0.0 if self._microphone.is_open else _TURN_S * 5)
            except EOFError:
                return
            for line in lines:
                self._obey(commands.read(line))
            self._hear()
            self._forget()
            self.report()

    def greet(self) -> None:
        """Set the text on the screen once everything is ready."""
        self._reporter.say("muted" if self._is_muted and self._config.live.mode != "none" else "", again=True)

    def _forget(self) -> None:
        """Discard the snapshot of a person who has not spoken for `FACE_KEPT_S`: they have probably left."""
        spoken_s = self._session.spoken_s if self._session is not None else 0.0
        if self._snapshot is not None and time.monotonic() > max(self._snapshot_s, spoken_s) + FACE_KEPT_S:
            self._snapshot = None
            self._close_session()  # the next one shows the configured photo

    # ---- orders --------------------------------------------------------------------------------------------------

    def _obey(self, command: Command) -> None:
        error = ""
        try:
            if command.order not in self.orders:
                raise RequestError(f"{command.order}: unknown order; it must be one of {', '.join(self.orders)}")
            self.orders[command.order](command.on)
        except SonicEdgeError as e:
            error = str(e)
            log.warning("%s: %s", command.order, e)
        self.report(at_once=True)  # before the answer, so that the next `status` shows the effect
        self._reporter.send(Answer(command.id, error))

    def _talk(self, on: bool) -> None:
        if on == self._is_on:
            return
        if self._is_muted and on:
            raise RequestError("the microphone is muted; unmute it first")
        if on:
            if self._config.camera.device is not None and self._snapshot is None:
                with contextlib.suppress(SonicEdgeError):  # shown on the screen; the configured photo is used
                    self._take_snapshot()
            if self._snapshot is None and self._photo is None:
                self._reporter.say("no_portrait")
                raise RequestError("there is no portrait to animate: no snapshot, and spool.portrait is not set")
            self._is_on = True
        else:
            self._end_passage()
            self._be_quiet()
            self._is_on = False

    def _mute(self, on: bool) -> None:
        self._is_muted = on
        if on:
            self._be_quiet()
            self._reporter.say("muted")
        else:
            self._reporter.say("")

    def _be_quiet(self) -> None:
        """Close the session and the microphone, and discard the passage and the snapshot."""
        self._close_session()
        self._passage = None
        self._microphone.close()
        self._snapshot = None
        if not self._is_muted:
            self._reporter.say("")

    def _take_snapshot(self) -> None:
        """Take a photo of the person in front of the camera; it replaces the portrait from now on.

        Raises:
            DeviceError: If the camera cannot be opened, or fails.
            RequestError: If no camera is configured, or nobody faces it.
        """
        from ..capture import snapshot

        camera = self._config.camera
        if camera.device is None:
            raise RequestError("camera.device is not set: there is no camera to take a snapshot with")
        self._close_session()  # the next one has the new face; a player without pictures would seem to hang meanwhile
        self._reporter.say("snapshot")
        self.report(at_once=True)
        try:
            self._snapshot = snapshot(camera, self._has_frontal_face)
        except RequestError as e:
            self._reporter.failed("camera", e)
            self._reporter.say("no_face")
            raise
        except DeviceError as e:
            self._reporter.failed("camera", e)
            self._reporter.say("no_camera")
            raise
        self._reporter.works("camera")
        self._snapshot_s = time.monotonic()
        self._reporter.say("snapshot_done")

    def _has_frontal_face(self, picture: "Image") -> bool:
        """Whether a picture shows a face. Reports first: searching one without a face takes seconds on a slow board."""
        self.report(at_once=True)
        return self._pipeline.has_frontal_face(picture)

    # ---- sound ---------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """Read and process one block of sound."""
        if not self._is_on or self._is_muted:
            return
        if self._session is not None and self._session.needs_look:
            self._microphone.close()
        try:
            heard = self._microphone.hear(_TURN_S)
        except DeviceError as e:
            if self._reporter.errors.get("microphone") != str(e):
                log.error("%s; trying again", e)
            self._reporter.failed("microphone", e)
            self._close_session()
            self._passage = None
            self._reporter.say("no_microphone")
            return
        if not self._microphone.is_open:  # waiting to try again
            return
        if self._reporter.works("microphone"):
            log.info("the microphone works again")
            self._reporter.say("")
        if self._config.live.mode == "mirror":
            if self._session is None:
                self._open_session()
            if heard is not None and self._session is not None:
                self._session.hear(heard)
        else:
            self._listen(None if heard is None else heard.samples)

    def _listen(self, samples: Any) -> None:
        """In record mode: add sound to the passage, and end it when it is over."""
        if samples is None:
            return
        if self._passage is None:  # only once there is sound: some devices take a second to deliver any
            from ..record import Passage

            self._passage = Passage(self._config.live)
            self._reporter.say("listening" if self._config.live.trigger == "command" else "")
        self._passage.push(samples)
        if self._passage.is_speaking:
            self._reporter.say("recording")
        if self._passage.is_over:
            self._end_passage()
            if self._config.live.trigger == "command":
                self._be_quiet()
                self._is_on = False

    def _end_passage(self) -> None:
        """End the passage and put what was said into the inbox as a job."""
        from ..record import put_job

        passage, self._passage = self._passage, None
        said = passage.take() if passage is not None else None
        if said is None:
            return
        if self._config.live.trigger == "voice" and self._config.camera.device is not None:
            with contextlib.suppress(SonicEdgeError):
                self._take_snapshot()  # after the passage: no sound is processed during a snapshot
        face = self._snapshot if self._snapshot is not None else self._photo
        if face is None:
            self._reporter.say("no_portrait")
            return
        try:
            name = put_job(self._root, said, self._pipeline.sample_rate, face)
        except DeviceError as e:
            log.error("%s", e)
            self._reporter.failed("record", e)
            return
        self._reporter.works("record")
        self._snapshot = None
        self._reporter.say("")
        self._reporter.send(Recorded(name))

    # ---- mirror --------------------------------------------------------------------------------------------------

    def _open_session(self) -> None:
        from .session import Session

        try:
            mirror = self._pipeline.mirror(self._portrait())
        except RequestError as e:
            self._reporter.failed("portrait", e)
            self._reporter.say("no_portrait")
            self._is_on = False
            self._be_quiet()
            return
        self._n_sessions += 1
        self._session = Session(mirror, self._config, self._root / "run" / f"live-{self._n_sessions}.bgr")
        width, height = mirror.size
        self._reporter.send(Stream(self._session.path, width, height, mirror.fps))
        if self._reporter.words not in ("no_face", "no_camera"):
            self._reporter.say("")

    def _close_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._mirror = self._session.state
            self._session = None
            self._reporter.send(Stream(None))

    def _portrait(self) -> "Portrait":
        """The portrait to animate: the snapshot, or else the configured photo.

        Raises:
            RequestError: If the photo cannot be used.
        """
        if self._snapshot is not None:
            try:
                return self._pipeline.portrait(self._snapshot, "snapshot")
            except RequestError as e:
                self._snapshot = None
                self._reporter.failed("camera", e)
                self._reporter.say("no_face")
        if self._own is None:
            if self._photo is None:
                raise RequestError("there is no portrait to animate: no snapshot, and spool.portrait is not set")
            self._own = self._pipeline.portrait(self._photo, self._photo.name)
        return self._own

    def report(self, at_once: bool = False) -> None:
        """Send the state if it is due, or `at_once`."""
        if not at_once and not self._reporter.is_due:
            return
        self._reporter.state(
            StudioState(
                mode=self._config.live.mode,
                talking=self._is_on,
                muted=self._is_muted,
                microphone=self._microphone.state,
                recording=self._passage is not None and self._passage.is_speaking,
                mirror=self._session.state if self._session is not None else self._mirror,
            )
        )


def _make_scene(config: Config, pipeline: "Pipeline", reporter: Reporter, tick: Callable[[], None]) -> None:
    """Make the idle scene from the configured photo, unless there is one from an earlier run."""
    display, photo = config.display, config.spool.portrait
    if display.output == "none" or display.idle == "black" or not photo:
        return
    from ...engine.pipeline import scene_key

    path, folder = Path(photo).absolute(), Path(config.spool.root).absolute() / "run"
    suffix = ".mp4" if display.idle == "alive" else ".png"
    try:
        scene = folder / f"scene-{scene_key(path, config)[:16]}{suffix}"
        if not scene.exists():
            for old in folder.glob("scene-*"):
                old.unlink()
            if display.idle == "alive":
                pipeline.scene(path, scene, lambda _: tick())
            else:
                pipeline.still(path, scene)
    except RequestError as e:  # everything else works without it
        log.warning("%s", e)
        reporter.failed("portrait", e)
    else:
        reporter.send(Scene(scene))
