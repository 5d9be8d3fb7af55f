"""Requirements of wheels, evaluated for another machine than this one.

    python board/wheelhouse.py needs WHEEL EXTRA ...     what it needs only for these extras
    python board/wheelhouse.py needs WHEEL               all its requirements
    python board/wheelhouse.py check FOLDER PYTHON ARCH REQUIREMENT ...

``pip download --python-version`` evaluates the markers of requirements for the Python that runs it
(https://github.com/pypa/pip/issues/11664), so its downloads may be incomplete for the box; ``check`` walks all
requirements with the box's own values and names wheels that are missing, unneeded or for another Python or processor.
"""

import re
import sys
import zipfile
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Dict, List, Set, Tuple

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename

_MACHINES = {b"\x3e\x00": "x86_64", b"\xb7\x00": "aarch64"}
"""An ELF file's processor, bytes 18 and 19 (elf.h: EM_X86_64, EM_AARCH64)."""
_EXTENSION = re.compile(r"\.(cpython-\d+[^/]*|abi3)\.so$")


def metadata(wheel: Path) -> Message:
    """A wheel's metadata."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA"))
        return BytesHeaderParser().parsebytes(archive.read(name))


def requirements(wheel: Path) -> List[Requirement]:
    """A wheel's requirements, with their markers."""
    return [Requirement(line) for line in metadata(wheel).get_all("Requires-Dist", [])]


def needs(wheel: Path, extras: List[str]) -> List[str]:
    """What a wheel needs only for these extras; without extras, all its requirements."""
    if not extras:
        return sorted(str(r) for r in requirements(wheel))
    wanted = [r for r in requirements(wheel) if r.marker and any(r.marker.evaluate({"extra": e}) for e in extras)]
    return sorted(f"{r.name}{r.specifier}" for r in wanted if r.marker and not r.marker.evaluate({"extra": ""}))


def fits(tag: Tag, python: str, arch: str) -> bool:
    """Whether a Python on a processor accepts a wheel with this tag."""
    major, minor = (int(n) for n in python.split("."))
    platforms = [tag.platform if tag.platform.endswith(f"_{arch}") else "any"]
    own = f"cp{major}{minor}"
    return tag in {
        *cpython_tags((major, minor), [own], platforms),
        *compatible_tags((major, minor), own, platforms),
    }


def extensions(wheel: Path) -> Dict[str, str]:
    """The compiled modules in a wheel, each with its processor."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: _processor(archive, name) for name in archive.namelist() if _EXTENSION.search(name)}


def _processor(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        head = file.read(20)
    if not head.startswith(b"\x7fELF"):
        return "no processor, being no ELF file"
    return _MACHINES.get(head[18:], "another processor")


def strangers(wheel: Path, python: str, arch: str) -> List[str]:
    """Mistakes in a wheel: parts for another Python or processor."""
    _, _, _, tags = parse_wheel_filename(wheel.name)
    if not any(fits(tag, python, arch) for tag in tags):
        return [f"{wheel.name}: not for Python {python} on {arch}, by its name"]
    return [
        f"{wheel.name}: {name} is for {machine}; {arch} is needed"
        for name, machine in extensions(wheel).items()
        if machine != arch
    ]


def check(folder: Path, python: str, arch: str, wanted: List[str]) -> List[str]:
    """Mistakes in a folder of wheels that must satisfy all requirements for a Python and a processor."""
    box = {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": arch,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    there: Dict[NormalizedName, Path] = {}
    wrong = []
    for wheel in sorted(folder.glob("*.whl")):
        name, _, _, _ = parse_wheel_filename(wheel.name)
        if name in there:
            wrong.append(f"{wheel.name}: so is {there[name].name}; one of them must go")
        there[name] = wheel
        wrong += strangers(wheel, python, arch)
    todo: List[Tuple[str, Requirement]] = [("the product", Requirement(text)) for text in wanted]
    seen: Set[Tuple[NormalizedName, str]] = set()
    used: Set[NormalizedName] = set()
    while todo:
        who, need = todo.pop()
        name = canonicalize_name(need.name)
        if name not in there:
            wrong.append(f"{need}, which {who} needs: there is no wheel of it")
            continue
        used.add(name)
        _, version, _, _ = parse_wheel_filename(there[name].name)
        if not need.specifier.contains(version, prereleases=True):
            wrong.append(f"{need}, which {who} needs: there is {there[name].name}")
        for extra in need.extras or {""}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for more in requirements(there[name]):
                if more.marker is None or more.marker.evaluate({**box, "extra": extra}):
                    todo.append((there[name].name, more))
    return wrong + [f"{wheel.name}: nothing needs it" for name, wheel in there.items() if name not in used]


def main() -> int:
    """Run one of the two commands."""
    command, place, *words = sys.argv[1:]
    if command == "needs":
        print("\n".join(needs(Path(place), words)))
        return 0
    wrong = check(Path(place), words[0], words[1], words[2:])
    for line in wrong:
        print(f"bundle: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
