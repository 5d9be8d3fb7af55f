#!/bin/sh
# Set up what Sonic Edge needs to run from this checkout: a virtual environment with its packages, the compiled parts of
# the renderer, the face networks, the sample photo and recording, the model. Safe to run again.
#
#   board/setup.sh [EXTRA ...]    EXTRA: live (microphone and loudspeaker), journal (systemd's journal with fields),
#                                 convert (what models.convert needs),
#                                 test (what the tests need: live, journal, and a sound server, a screen and a player
#                                 without hardware), lint (what `make check` needs)
#
# PYTHON   the interpreter to build on (default python3; 3.9 or newer)
# VENV     where the environment goes (default .venv)
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=${VENV:-.venv}
extras=cpu
for extra in "$@"; do extras=$extras,$extra; done

# Debian and Ubuntu ship Python without venv, and containers often without Python.
need=
lacks() { command -v "$1" >/dev/null 2>&1 || need="$need $2"; }
lacks "$python" "python3 python3-venv"
if [ -z "$need" ] && ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    need=" $("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
fi
# the renderer's inner loops are compiled here, as are PyAudio and systemd-python, which have no wheels
lacks gcc gcc
[ -e /usr/include/stdio.h ] || need="$need libc6-dev"
if command -v "$python" >/dev/null 2>&1; then
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
        need="$need $("$python" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')"
else
    need="$need python3-dev"
fi
case " $* " in *" live "* | *" test "*)
    [ -e /usr/include/portaudio.h ] || need="$need portaudio19-dev"
    extras=$extras,live ;;
esac
case " $* " in *" journal "* | *" test "*)
    lacks pkg-config pkg-config
    [ -e /usr/include/systemd/sd-journal.h ] || need="$need libsystemd-dev"
    extras=$extras,journal ;;
esac
case " $* " in *" test "*)
    lacks pulseaudio pulseaudio
    lacks pactl pulseaudio-utils
    ls /usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so >/dev/null 2>&1 || need="$need libasound2-plugins"
    lacks Xvfb xvfb
    lacks mpv mpv
    lacks ffmpeg ffmpeg ;;
esac
if [ -n "$need" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: installing$need"
        # shellcheck disable=SC2086 # each word is a package
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need
    else
        echo "setup: missing system packages:$need" >&2
        echo "setup: as root, run: apt-get install$need" >&2
        exit 1
    fi
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' || {
    echo "setup: $python is $("$python" --version 2>&1); Python 3.9 or newer is needed (set PYTHON=...)" >&2
    exit 1
}

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "setup: installing packages into $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extras]"

share=$venv/share/sonic-edge
mkdir -p "$share/samples"
cp board/samples/speech.flac "$share/samples/speech.flac"
# the model is used where it is, so that a retrained one takes effect at once
ln -sfn "$PWD/models/bundles" "$share/bundles"
"$venv/bin/python" board/fetch_assets.py "$share"
