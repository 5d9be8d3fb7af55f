"""The part of bundle.yaml that all kinds of bundle share."""

from typing import Dict, FrozenSet, List, Literal, Optional, Set, Tuple

from pydantic import Field

from ...config import Section
from ..mel import MelSettings

MICROPHONE_HZ = 16000
"""Sample rate of live sound: a model with another rate could not be used live."""

Shape = Tuple[str, str, str, List[int]]
"""(Stage, "inputs" or "outputs", tensor, required shape)."""


class TensorSpec(Section):
    """One input or output."""

    shape: List[int]
    """Its dimensions, all fixed."""
    dtype: Literal["float32"] = "float32"


class FileSpec(Section):
    """A stage's file for one backend."""

    path: str
    """File name, in the folder of bundle.yaml."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    soc: str = ""
    """The chip it was compiled for, by its ATC name (Ascend310, Ascend310B4); empty: any."""


class ReferenceSpec(Section):
    """The reference outputs; see `sonic_edge.model.reference`."""

    path: str
    """File name, in the folder of bundle.yaml."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    least_r: float = Field(0.99, ge=0, le=1)
    """Correlation that every output must reach."""


class StageSpec(Section):
    """One graph."""

    inputs: Dict[str, TensorSpec]
    outputs: Dict[str, TensorSpec]
    files: Dict[str, FileSpec]
    """Backend name -> file."""


class MelSpec(Section):
    """See `mel.MelSettings`."""

    sample_rate: int = Field(ge=8000, le=48000)
    n_fft: int = Field(ge=64, le=4096)
    hop: int = Field(ge=16, le=4096)
    n_mels: int = Field(ge=8, le=256)
    fmin: float = Field(ge=0)
    fmax: float = Field(gt=0)
    floor: float = Field(gt=0)
    speech_db: float = Field(gt=0)
    clip: List[float] = Field(min_length=2, max_length=2)
    scale: float = Field(gt=0)
    bands: Literal["htk", "slaney"] = "htk"
    summed: Literal["power", "magnitude"] = "power"
    preemphasis: float = Field(0.0, ge=0, lt=1)
    normalise: Literal["speech", "range"] = "speech"

    def settings(self) -> MelSettings:
        """These settings as `MelSettings`."""
        values = self.model_dump()
        return MelSettings(**{**values, "clip": (self.clip[0], self.clip[1])})


class Tensors(Section):
    """The model's names for its inputs and outputs; here, those that all kinds have."""

    speech: str
    """Input: normalised log-mel, [1, 1, n_mels, mel_frames]."""
    face: str
    """Input: the face, [1, channels, size, size]."""


class BundleSpec(Section):
    """The part of bundle.yaml that all kinds share."""

    format: Literal[1]
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    licence: str
    description: str = ""
    kind: str
    mel: MelSpec
    stages: Dict[str, StageSpec]
    tensors: Tensors
    reference: Optional[ReferenceSpec] = None

    @property
    def steady(self) -> FrozenSet[str]:
        """Inputs of the graphs that stay the same for a whole clip: the face."""
        return frozenset({self.tensors.face})

    def mistakes(self) -> List[str]:
        """What is inconsistent: a message for each mistake, with its key path and what is needed."""
        mel, wrong = self.mel, []
        if mel.sample_rate != MICROPHONE_HZ:
            wrong.append(f"mel.sample_rate = {mel.sample_rate}: must be {MICROPHONE_HZ}, the rate of live sound")
        if not mel.fmin < mel.fmax <= mel.sample_rate / 2:
            wrong.append(
                f"mel.fmin, fmax = {mel.fmin:g}, {mel.fmax:g}: must increase and be at most {mel.sample_rate / 2:g} Hz"
            )
        if mel.hop > mel.n_fft:
            wrong.append(f"mel.hop = {mel.hop}: must be at most mel.n_fft = {mel.n_fft}")
        if mel.clip[0] >= mel.clip[1]:
            wrong.append(f"mel.clip = {mel.clip}: must increase")
        if mel.normalise == "speech" and (mel.summed != "power" or mel.preemphasis):
            wrong.append("mel.normalise = speech: needs mel.summed = power and mel.preemphasis = 0; else use range")
        return wrong

    def wrong_stages(self, needed: List[str]) -> List[str]:
        """Stages that are missing."""
        return [f"stages: has no {name}" for name in needed if name not in self.stages]

    def wrong_shapes(self, shapes: List[Shape]) -> List[str]:
        """Tensors that are missing or have another shape than required."""
        wrong = []
        for stage, kind, tensor, want in shapes:
            found = getattr(self.stages[stage], kind).get(tensor)
            if found is None or found.shape != want:
                has = "is missing" if found is None else f"is {found.shape}"
                wrong.append(f"stages.{stage}.{kind}.{tensor}: {has}; must be {want}")
        return wrong

    def unknown_inputs(self, known: Dict[str, Set[str]]) -> List[str]:
        """Inputs that the code would not know how to fill."""
        return [
            f"stages.{stage}.inputs.{extra}: is not named under tensors"
            for stage, names in known.items()
            for extra in sorted(set(self.stages[stage].inputs) - names)
        ]
