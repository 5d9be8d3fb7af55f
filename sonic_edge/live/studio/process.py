"""The studio's own life: one loop that takes orders and sound by turns; the pictures are made in a thread beside it."""

import contextlib
import json
import logging
import signal
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, ContextManager, Dict, Mapping, Optional

from ... import journal
from ...config import Config, check
from ...errors import ConfigError, DeviceError, RequestError, SonicEdgeError
from ...process import LineReader, die_with_parent, limit_resources, take_pipes, tell

if TYPE_CHECKING:  # loaded once memory is bounded and a failure can be told
    from ...engine.pipeline import Pipeline
    from ...media import Image, Portrait
    from ..record import Passage
    from .session import Session

log = logging.getLogger(__name__)

MakePipeline = Callable[[Config], ContextManager["Pipeline"]]

_STATE_EVERY_S = 0.5
_TURN_S = 0.02
FACE_KEPT_S = 300.0
"""A snapshot of somebody who says nothing is forgotten after so long."""


def _make_pipeline(config: Config) -> "ContextManager[Pipeline]":
    from ...engine.pipeline import Pipeline

    return Pipeline(config)


def main(make_pipeline: MakePipeline = _make_pipeline) -> int:
    """Live as the studio: settings and orders come on standard input, messages go to standard output.

    Args:
        make_pipeline: Loads what does the work.

    Returns:
        The exit status.
    """
    journal.set_up()
    orders, messages = take_pipes()
    lines = LineReader(orders)
    (first, *_) = lines.wait_for_one()
    start = json.loads(first)
    die_with_parent(start["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C in a terminal reaches us too; the daemon decides
    config = check(Config, start["config"], "settings from the daemon")
    limit_resources(config.worker.memory_mb)
    try:
        with make_pipeline(config) as pipeline, _Studio(config, pipeline, messages, bool(start["muted"])) as studio:
            tell(messages, {"tell": "ready"})
            studio.make_scene()
            studio.greet()
            studio.serve(lines)
    except MemoryError:
        words = f"worker.memory_mb = {config.worker.memory_mb}: too little for the model"
        tell(messages, {"tell": "failed", "error": "ConfigError", "message": words})
        return 1
    except SonicEdgeError as e:
        kind = "ConfigError" if isinstance(e, ConfigError) else "DeviceError"
        tell(messages, {"tell": "failed", "error": kind, "message": str(e)})
        return 1
    except Exception as e:
        traceback.print_exc()
        tell(messages, {"tell": "failed", "error": "DeviceError", "message": f"the studio: {type(e).__name__}: {e}"})
        return 1
    return 0


class _Studio:
    """What is going on in front of the box.

    Args:
        config: The settings.
        pipeline: The loaded model.
        messages: Where to tell.
        is_muted: Whether the microphone stays closed.
    """

    def __init__(self, config: Config, pipeline: "Pipeline", messages: BinaryIO, is_muted: bool) -> None:
        from .devices import ReconnectingMicrophone

        self._config = config
        self._pipeline = pipeline
        self._messages = messages
        self._root = Path(config.spool.root).absolute()
        self._photo = Path(config.spool.portrait).absolute() if config.spool.portrait else None
        self._is_muted = is_muted
        self._is_on = config.live.mode != "none" and config.live.trigger == "voice"
        self._ears = ReconnectingMicrophone(config.microphone)
        self._session: Optional[Session] = None
        self._passage: Optional[Passage] = None
        self._snapshot: Optional[Image] = None
        self._snapshot_s = 0.0
        self._own: Optional[Portrait] = None  # of the configured photo, kept: it is made anew in a second
        self._words = ""
        self._errors: Dict[str, str] = {}
        self._counts: Dict[str, object] = {}
        self._told_at = 0.0
        self._n_sessions = 0

    def __enter__(self) -> "_Studio":
        return self

    def __exit__(self, *_: object) -> None:
        self._be_quiet()

    def make_scene(self) -> None:
        """The idle scene of the configured photo, unless it is there from last time."""
        display = self._config.display
        if display.output == "none" or display.idle == "black" or self._photo is None:
            return
        from ...engine.pipeline import scene_key

        folder = self._root / "run"
        suffix = ".mp4" if display.idle == "alive" else ".png"
        try:
            scene = folder / f"scene-{scene_key(self._photo, self._config)[:16]}{suffix}"
            if not scene.exists():
                for old in folder.glob("scene-*"):
                    old.unlink()
                if display.idle == "alive":
                    self._pipeline.scene(self._photo, scene, lambda _: self._tell_state())
                else:
                    self._pipeline.still(self._photo, scene)
        except RequestError as e:  # everything else works without
            log.warning("%s", e)
            self._errors["portrait"] = str(e)
        else:
            tell(self._messages, {"tell": "scene", "path": str(scene)})

    def serve(self, orders: LineReader) -> None:
        """Take orders and sound by turns until the daemon goes."""
        while True:
            try:
                lines = orders.take(0.0 if self._ears.are_open else _TURN_S * 5)
            except EOFError:
                return
            for line in lines:
                self._obey(json.loads(line))
            self._hear()
            self._forget()
            self._tell_state()

    def greet(self) -> None:
        """What the screen says once everything is there."""
        self._words = "muted" if self._is_muted and self._config.live.mode != "none" else ""
        tell(self._messages, {"tell": "words", "key": self._words})

    def _forget(self) -> None:
        """A face that has not spoken for a while is somebody who has gone."""
        spoken_s = self._session.spoken_s if self._session is not None else 0.0
        if self._snapshot is not None and time.monotonic() > max(self._snapshot_s, spoken_s) + FACE_KEPT_S:
            self._snapshot = None
            self._close_session()  # the configured photo goes on

    # ---- orders --------------------------------------------------------------------------------------------------

    def _obey(self, order: Mapping[str, Any]) -> None:
        error = ""
        try:
            if order["order"] == "talk":
                self._talk(order["on"])
            elif order["order"] == "mute":
                self._mute(order["on"])
            elif order["order"] == "snapshot":
                self._take_snapshot()
        except SonicEdgeError as e:
            error = str(e)
            log.warning("%s: %s", order["order"], e)
        self._tell_state(at_once=True)  # whoever asks next is told what has come of it
        tell(self._messages, {"tell": "answer", "id": order["id"], "error": error})

    def _talk(self, on: bool) -> None:
        if on == self._is_on:
            return
        if self._is_muted and on:
            raise RequestError("the microphone is muted; unmute it first")
        if on:
            if self._config.camera.device is not None and self._snapshot is None:
                with contextlib.suppress(SonicEdgeError):  # said on the screen; the configured photo speaks
                    self._take_snapshot()
            if self._snapshot is None and self._photo is None:
                self._say("no_portrait")
                raise RequestError("there is nobody to speak: no snapshot, and spool.portrait is not set")
            self._is_on = True
        else:
            self._end_passage()
            self._be_quiet()
            self._is_on = False

    def _mute(self, on: bool) -> None:
        self._is_muted = on
        if on:
            self._be_quiet()
            self._say("muted")
        else:
            self._say("")

    def _be_quiet(self) -> None:
        """Close everything, forget everybody."""
        self._close_session()
        self._passage = None
        self._ears.close()
        self._snapshot = None
        if not self._is_muted:
            self._say("")

    def _take_snapshot(self) -> None:
        """A new face for what is said from now on.

        Raises:
            DeviceError: If there is no camera, or it fails.
            RequestError: If nobody looked at it.
        """
        from ..capture import snapshot

        camera = self._config.camera
        if camera.device is None:
            raise RequestError("camera.device is not set: there is no camera to take a snapshot with")
        self._close_session()  # it goes on with the new face; a player that gets no pictures would seem to hang
        self._say("snapshot")
        self._tell_state(at_once=True)
        try:
            self._snapshot = snapshot(camera, self._has_frontal_face)
        except RequestError as e:
            self._errors["camera"] = str(e)
            self._say("no_face")
            raise
        except DeviceError as e:
            self._errors["camera"] = str(e)
            self._say("no_camera")
            raise
        self._errors.pop("camera", None)
        self._snapshot_s = time.monotonic()
        self._say("snapshot_done")

    def _has_frontal_face(self, picture: "Image") -> bool:
        """Whether somebody is in a picture; all of one with nobody is searched, which takes a slow board seconds."""
        self._tell_state(at_once=True)
        return self._pipeline.has_frontal_face(picture)

    # ---- sound ---------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """One turn of listening."""
        if not self._is_on or self._is_muted:
            return
        if self._session is not None and self._session.needs_look:
            self._ears.close()
        try:
            heard = self._ears.hear(_TURN_S)
        except DeviceError as e:
            if self._errors.get("microphone") != str(e):
                log.error("%s; trying again", e)
            self._errors["microphone"] = str(e)
            self._close_session()
            self._passage = None
            self._say("no_microphone")
            return
        if not self._ears.are_open:  # waiting to try again
            return
        if self._errors.pop("microphone", None):
            log.info("the microphone works again")
            self._say("")
        if self._config.live.mode == "mirror":
            if self._session is None:
                self._open_session()
            if heard is not None and self._session is not None:
                self._session.hear(heard)
        else:
            self._listen(None if heard is None else heard.samples)

    def _listen(self, samples: Any) -> None:
        """record: wait for a passage, and end it."""
        if samples is None:
            return
        if self._passage is None:  # not before there is sound: some devices take a second until then
            from ..record import Passage

            self._passage = Passage(self._config.live)
            self._say("listening" if self._config.live.trigger == "command" else "")
        self._passage.push(samples)
        if self._passage.is_speaking:
            self._say("recording")
        if self._passage.is_over:
            self._end_passage()
            if self._config.live.trigger == "command":
                self._be_quiet()
                self._is_on = False

    def _end_passage(self) -> None:
        """What was said becomes a job."""
        from ..record import put_job

        passage, self._passage = self._passage, None
        said = passage.take() if passage is not None else None
        if said is None:
            return
        if self._config.live.trigger == "voice" and self._config.camera.device is not None:
            with contextlib.suppress(SonicEdgeError):
                self._take_snapshot()  # now: the microphone would have been deaf meanwhile
        face = self._snapshot if self._snapshot is not None else self._photo
        if face is None:
            self._say("no_portrait")
            return
        try:
            name = put_job(self._root, said, self._pipeline.sample_rate, face)
        except DeviceError as e:
            log.error("%s", e)
            self._errors["record"] = str(e)
            return
        self._errors.pop("record", None)
        self._snapshot = None
        self._say("")
        tell(self._messages, {"tell": "recorded", "name": name})

    # ---- mirror --------------------------------------------------------------------------------------------------

    def _open_session(self) -> None:
        from .session import Session

        try:
            mirror = self._pipeline.mirror(self._portrait())
        except RequestError as e:
            self._errors["portrait"] = str(e)
            self._say("no_portrait")
            self._is_on = False
            self._be_quiet()
            return
        self._n_sessions += 1
        self._session = Session(mirror, self._config, self._root / "run" / f"live-{self._n_sessions}.bgr")
        width, height = mirror.size
        stream = {"path": str(self._session.path), "width": width, "height": height, "fps": mirror.fps}
        tell(self._messages, {"tell": "live", **stream})
        if self._words not in ("no_face", "no_camera"):
            self._say("")

    def _close_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._counts = self._session.counts
            self._session = None
            tell(self._messages, {"tell": "live", "path": "", "width": 0, "height": 0, "fps": 0})

    def _portrait(self) -> "Portrait":
        """Who speaks now.

        Raises:
            RequestError: If the photo cannot be used.
        """
        if self._snapshot is not None:
            try:
                return self._pipeline.portrait(self._snapshot, "snapshot")
            except RequestError as e:
                self._snapshot = None
                self._errors["camera"] = str(e)
                self._say("no_face")
        if self._own is None:
            if self._photo is None:
                raise RequestError("there is nobody to speak: no snapshot, and spool.portrait is not set")
            self._own = self._pipeline.portrait(self._photo, self._photo.name)
        return self._own

    # ---- telling -------------------------------------------------------------------------------------------------

    def _say(self, key: str) -> None:
        if key != self._words:
            self._words = key
            tell(self._messages, {"tell": "words", "key": key})

    def _tell_state(self, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now < self._told_at + _STATE_EVERY_S:
            return
        self._told_at = now
        state = {
            "mode": self._config.live.mode,
            "talking": self._is_on,
            "muted": self._is_muted,
            "microphone": self._ears.state,
            "recording": self._passage is not None and self._passage.is_speaking,
            "mirror": self._session.counts if self._session is not None else self._counts,
            "errors": dict(self._errors),
        }
        tell(self._messages, {"tell": "state", "state": state})
