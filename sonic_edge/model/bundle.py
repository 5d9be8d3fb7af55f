"""A model bundle: a folder with bundle.yaml and the files it names.

Nothing about a particular model is in the code: tensor names, shapes, mel settings and motion channels come from here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, FrozenSet, Tuple, Type, TypeVar

from ..config import read_yaml
from ..disk import sha256_of
from ..errors import ConfigError
from .spec import BundleSpec, FramesSpec, MotionSpec, read_spec

SpecT = TypeVar("SpecT", bound=BundleSpec)


@dataclass(frozen=True)
class Stage:
    """One graph of a model and its file for one backend, the file's hash checked."""

    name: str
    path: Path
    inputs: Dict[str, Tuple[int, ...]]
    """Input name -> shape; all float32."""
    outputs: Dict[str, Tuple[int, ...]]
    """Output name -> shape; all float32."""
    soc: str = ""
    """The chip the file was compiled for; empty: any."""
    steady: FrozenSet[str] = frozenset()
    """Inputs that stay the same over many runs."""


class Bundle:
    """A bundle on disk.

    Args:
        folder: The folder with bundle.yaml.

    Raises:
        ConfigError: If bundle.yaml is missing, invalid or inconsistent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        source = folder / "bundle.yaml"
        self.spec = read_spec(read_yaml(source), str(source))
        self.mel = self.spec.mel.settings()

    @property
    def motion(self) -> MotionSpec:
        """The specification of a bundle of kind motion."""
        return self._of(MotionSpec)

    @property
    def frames(self) -> FramesSpec:
        """The specification of a bundle of kind frames."""
        return self._of(FramesSpec)

    def _of(self, kind: Type[SpecT]) -> SpecT:
        if not isinstance(self.spec, kind):
            raise TypeError(f"{self.folder}: is of kind {self.spec.kind}")
        return self.spec

    def stage(self, name: str, backend: str) -> Stage:
        """A stage's file for a backend, its hash checked.

        Raises:
            ConfigError: If the bundle has no file for this backend, or the file's hash is not the one in bundle.yaml.
        """
        spec = self.spec.stages[name]
        if backend not in spec.files:
            has = ", ".join(spec.files)
            raise ConfigError(f"{self.folder}: stage {name} has no file for backend {backend}; it has: {has}")
        file = spec.files[backend]
        return Stage(
            name=name,
            path=self._file(f"stages.{name}.files.{backend}", file.path, file.sha256),
            inputs={k: tuple(t.shape) for k, t in spec.inputs.items()},
            outputs={k: tuple(t.shape) for k, t in spec.outputs.items()},
            soc=file.soc,
            steady=self.spec.steady & set(spec.inputs),
        )

    def reference(self) -> Path:
        """The file with the reference outputs, its hash checked.

        Raises:
            ConfigError: If the bundle has none, or the file's hash is not the one in bundle.yaml.
        """
        if self.spec.reference is None:
            raise ConfigError(f"{self.folder}: bundle.yaml names no reference")
        return self._file("reference", self.spec.reference.path, self.spec.reference.sha256)

    def _file(self, key: str, name: str, sha256: str) -> Path:
        path = self.folder / name
        if path.resolve().parent != self.folder.resolve():
            raise ConfigError(f"{self.folder}: {key}.path = {name}: must be in the bundle's folder")
        try:
            digest = sha256_of(path)
        except OSError as e:
            raise ConfigError(f"{path}: cannot be read: {e}") from e
        if digest != sha256:
            raise ConfigError(f"{path}: is damaged or changed: its sha256 is {digest}, bundle.yaml says {sha256}")
        return path
