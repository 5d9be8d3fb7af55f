#!/bin/sh
# Makes models/.venv, where everything in models/ runs; names the system packages that are missing. Run from anywhere.
set -eu
cd "$(dirname "$0")"
missing=""
for package in espeak-ng libespeak-ng1 flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts \
    festvox-italp16k festvox-itapc16k festvox-suopuhe-lj festvox-suopuhe-mv; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then
        apt-get install -y $missing
    else
        echo "models/setup.sh: the voices are missing; as root: apt-get install$missing" >&2
        exit 1
    fi
fi
"${PYTHON:-python3}" -m venv .venv
.venv/bin/python -m pip install --quiet --requirement requirements.txt
echo "models/.venv is ready"
