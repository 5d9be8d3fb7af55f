"""A mirror session: sound goes to the model and, delayed, to the loudspeaker; pictures go to the screen."""

import time
from pathlib import Path

from ...config import Config
from ...engine.mirror import Mirror
from ...media import SoundBlock
from ..pacing import FramePacer, Pipe
from ..state import MirrorState
from .devices import ReconnectingSpeaker


class Session:
    """Runs a live portrait until it is closed. No sound or picture is kept.

    Args:
        mirror: The live portrait.
        config: Only live.delay_s and the speaker's settings are used.
        path: The FIFO for the pictures.

    Raises:
        DeviceError: If the FIFO cannot be created.
    """

    def __init__(self, mirror: Mirror, config: Config, path: Path) -> None:
        self._mirror = mirror
        self.path = path
        self._pipe = Pipe(path)
        self._pacer = FramePacer(mirror.draw, self._pipe, config.live.delay_s, mirror.fps)
        self._speaker = ReconnectingSpeaker(
            config.speaker, config.live.delay_s + config.speaker.screen_s + mirror.lead_s
        )
        self._since = time.monotonic()
        self._cpu = time.process_time()
        self._pacer.__enter__()

    def hear(self, heard: SoundBlock) -> None:
        """Process a block of sound.

        Raises:
            DeviceError: If the model or the screen's FIFO fails.
        """
        self._speaker.hear(heard)
        for cue in self._mirror.hear(heard):
            self._pacer.cue(cue)

    @property
    def needs_look(self) -> bool:
        """See `devices.ReconnectingSpeaker.needs_look`."""
        return self._speaker.needs_look

    @property
    def spoken_s(self) -> float:
        """When somebody last spoke, in `time.monotonic` seconds."""
        return self._mirror.spoken_s

    def close(self) -> None:
        """Stop; close the loudspeaker and delete the FIFO."""
        self._pacer.__exit__(None, None, None)
        self._speaker.close()
        self._pipe.close()

    @property
    def state(self) -> MirrorState:
        """For `status`."""
        wall_s = max(time.monotonic() - self._since, 1e-3)
        frames = self._pacer.counts
        return MirrorState(
            frames.shown,
            frames.late,
            frames.refused,
            frames.unseen,
            frames.latency_ms,
            seconds=round(wall_s, 1),
            cpu_share=round((time.process_time() - self._cpu) / wall_s, 3),
            skipped_s=round(self._mirror.n_skipped_s, 3),
            level=round(self._mirror.level, 3),
            speaker=self._speaker.state,
        )
