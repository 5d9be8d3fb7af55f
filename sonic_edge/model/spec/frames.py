"""bundle.yaml of kind frames: the model paints the face. Mel window and aligned face in, the face at that time out."""

from typing import List, Literal

from pydantic import Field

from ...config import Section
from .base import BundleSpec, Tensors


class WindowSpec(Section):
    """The window of sound for one frame."""

    mel_frames: int = Field(ge=1)
    start_s: float = Field(ge=-5, le=5)
    """Where the window begins, relative to the frame's time, seconds; usually negative."""
    fps: float = Field(gt=0, le=60)
    """The frame rate the model was trained at, and of live pictures. A video has the rate that the controls ask for."""
    lead_s: float = Field(0.03, ge=-0.5, le=0.5)
    """How far the lips lead the sound as the model paints them, seconds: with `align_offset` at this value nothing is
    shifted. People on film lead by 0.03."""


class StreamSpec(Section):
    """How the model runs on sound that is still arriving."""

    look_ahead_s: float = Field(ge=0, le=2)
    """How much later sound a live picture waits for, seconds; the rest of its window is filled with silence."""
    prior: List[float] = Field(default_factory=list)
    """Only if mel.normalise is speech: mean `mel.speech_shape` of the training speech, [n_mels]."""


class CropSpec(Section):
    """The square the model sees and paints, defined either by the positions of the eyes or as a box around the face."""

    size: int = Field(ge=32, le=1024)
    """Side, pixels."""
    eye_left: List[float] = Field(default_factory=list, max_length=2)
    """Centre of the eye on the left of the picture, x and y, as shares of the square's side."""
    eye_right: List[float] = Field(default_factory=list, max_length=2)
    margins: List[float] = Field(default_factory=list, max_length=4)
    """Margins left of, above, right of and below the bounding box of forehead, chin and cheeks, as shares of its width
    and height; negative ones cut into it. The box is rotated with the head and stretched to the square."""


class PictureSpec(Section):
    """How a picture is encoded in a tensor."""

    given: List[Literal["face", "blanked"]] = Field(min_length=1, max_length=2)
    """Pictures stacked in the input, three channels each: the crop, or the crop with its lower part black."""
    blank_from: float = Field(0.5, gt=0, lt=1)
    """`blanked` is black from this share of the height down."""
    channels: Literal["rgb", "bgr"] = "rgb"
    range: List[float] = Field(min_length=2, max_length=2)
    """The values of black and of white."""


class PasteSpec(Section):
    """Which part of the painted square is pasted into the photo."""

    box: List[float] = Field(min_length=4, max_length=4)
    """Left, top, right and bottom, as shares of the square; nothing outside it changes."""
    feather: float = Field(gt=0, le=0.5)
    """Width of the soft edge inside the box, as a share of the square's side."""


class FramesTensors(Tensors):
    """The model's names for its inputs and outputs."""

    face: str
    """Input: the pictures of `picture.given`, [1, 3 or 6, size, size]."""
    picture: str
    """Output: the painted face, [1, 3, size, size]."""


class FramesSpec(BundleSpec):
    """bundle.yaml of kind frames."""

    kind: Literal["frames"]
    window: WindowSpec
    stream: StreamSpec
    crop: CropSpec
    picture: PictureSpec
    paste: PasteSpec
    tensors: FramesTensors

    def mistakes(self) -> List[str]:
        """See `BundleSpec.mistakes`."""
        wrong = [*super().mistakes(), *self.wrong_stages(["painter"]), *self._wrong_crop(), *self._wrong_paste()]
        wrong += [f"stages.{name}: unknown; the only stage is painter" for name in self.stages if name != "painter"]
        n_prior, n_mels = len(self.stream.prior), self.mel.n_mels
        if self.mel.normalise == "speech" and n_prior != n_mels:
            wrong.append(f"stream.prior: {n_prior} values; mel.normalise = speech needs {n_mels}, one for each band")
        if self.mel.normalise == "range" and n_prior:
            wrong.append("stream.prior: is not used if mel.normalise is range; leave it out")
        start_s = self.window.start_s
        if self.stream.look_ahead_s <= start_s:
            wrong.append(
                f"stream.look_ahead_s = {self.stream.look_ahead_s:g}: must be more than window.start_s = {start_s:g}"
            )
        low, high = self.picture.range
        if low >= high:
            wrong.append(f"picture.range = {self.picture.range}: must increase, from black to white")
        if wrong:
            return wrong
        names, side = self.tensors, self.crop.size
        wrong = self.wrong_shapes(
            [
                ("painter", "inputs", names.speech, [1, 1, n_mels, self.window.mel_frames]),
                ("painter", "inputs", names.face, [1, 3 * len(self.picture.given), side, side]),
                ("painter", "outputs", names.picture, [1, 3, side, side]),
            ]
        )
        return wrong + self.unknown_inputs({"painter": {names.speech, names.face}})

    def _wrong_crop(self) -> List[str]:
        crop = self.crop
        by_eyes = bool(crop.eye_left or crop.eye_right)
        if by_eyes == bool(crop.margins):
            return ["crop: must have either eye_left and eye_right, or margins"]
        if by_eyes:
            eyes = [*crop.eye_left, *crop.eye_right]
            if len(eyes) != 4 or not all(0 <= x <= 1 for x in eyes) or eyes[2] - eyes[0] < 0.05:
                found = f"crop.eye_left, eye_right = {crop.eye_left}, {crop.eye_right}"
                return [f"{found}: must be x and y, 0 to 1, the right eye's x larger by at least 0.05"]
        elif len(crop.margins) != 4 or not all(-0.4 <= m <= 2 for m in crop.margins):
            return [f"crop.margins = {crop.margins}: must be left, top, right and bottom, -0.4 to 2"]
        return []

    def _wrong_paste(self) -> List[str]:
        left, top, right, bottom = self.paste.box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            return [f"paste.box = {self.paste.box}: must be left, top, right and bottom, 0 to 1 and rising"]
        feather, most = self.paste.feather, min(right - left, bottom - top) / 2
        least = 2 / self.crop.size  # a narrower edge would leave no pixels to match light and colour along
        if feather < least:
            return [f"paste.feather = {feather:g}: must be at least {least:.3g}, two pixels of crop.size"]
        if feather > most:
            return [f"paste.feather = {feather:g}: must be at most {most:g}, half of the height or width of paste.box"]
        return []
