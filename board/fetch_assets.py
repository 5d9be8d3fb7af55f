"""Fetch files that are not ours to commit from pinned wheels, and check each by its sha256.

    python board/fetch_assets.py SHARE_FOLDER

Takes four networks (face, mesh, iris, person) from mediapipe (Apache-2.0) and the sample photo from matplotlib (a
portrait of Grace Hopper by the US Navy, public domain). The wheels are only opened, never installed. Files that
are already there and correct are kept, so a second run needs no network.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Dict, Tuple

# requirement -> {member of the wheel: (file under the share folder, sha256)}
WHEELS: Dict[str, Dict[str, Tuple[str, str]]] = {
    "mediapipe==0.10.18": {
        "mediapipe/modules/face_detection/face_detection_short_range.tflite": (
            "face/face_detection_short_range.tflite",
            "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        ),
        "mediapipe/modules/face_landmark/face_landmark.tflite": (
            "face/face_landmark.tflite",
            "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        ),
        "mediapipe/modules/iris_landmark/iris_landmark.tflite": (
            "face/iris_landmark.tflite",
            "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
        ),
        "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite": (
            "face/selfie_segmentation.tflite",
            "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        ),
    },
    "matplotlib==3.9.2": {
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg": (
            "samples/portrait.jpg",
            "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        ),
    },
}


def main() -> int:
    """Fetch files that are missing or have a wrong hash."""
    share = Path(sys.argv[1])
    for requirement, members in WHEELS.items():
        missing = {m: t for m, t in members.items() if _sha256(share / t[0]) != t[1]}
        if missing:
            _take(requirement, missing, share)
    print(f"face networks and sample photo: {share}")
    return 0


def _take(requirement: str, members: Dict[str, Tuple[str, str]], share: Path) -> None:
    print(f"fetching {requirement} for {', '.join(t[0] for t in members.values())}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        # any platform's wheel carries the same data files: this one is named so that every machine takes the same
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"]
        command += ["--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_17_x86_64"]
        subprocess.run([*command, "--dest", folder, requirement], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for member, (name, wanted) in members.items():
                data = archive.read(member)
                found = hashlib.sha256(data).hexdigest()
                if found != wanted:
                    sys.exit(f"{requirement}: {member} has sha256 {found}; {wanted} is needed")
                target = share / name
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(target.name + ".part")
                part.write_bytes(data)
                part.replace(target)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main())
