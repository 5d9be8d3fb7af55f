#!/bin/sh
# Install Sonic Edge as a service on this Debian or Ubuntu, as root. The same command with a newer release upgrades: a
# job under way is parked, and done again whole by the new release. Safe to run again.
#
#   board/install.sh [--wheel FILE] [--find-links DIR] [EXTRA ...]
#
#   --wheel FILE      install this wheel; without it, one is built of this checkout
#   --find-links DIR  take every package from this folder and use no network
#   EXTRA             live: PyAudio, for microphone and loudspeaker; journal: systemd-python, for `journalctl JOB=name`
#
# PYTHON   the interpreter to build on (default python3; 3.9 or newer)
#
# Each release has a folder of its own; `current` is changed in one step, and the release before stays:
#   /opt/sonic-edge/releases/<version>-<hash>/   a virtual environment, in its share/sonic-edge what is not Python
#   /opt/sonic-edge/current, previous            links to two of them
#   /etc/sonic-edge/sonic-edge.yaml              the settings; made once, then never touched
#   /etc/systemd/system, /etc/sysusers.d, /etc/tmpfiles.d, /etc/udev/rules.d    what systemd/ in the checkout holds
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
home=/opt/sonic-edge
settings=/etc/sonic-edge/sonic-edge.yaml

say() { echo "install: $*"; }
refuse() {
    echo "install: $*" >&2
    exit 1
}

wheel= links= extras=cpu
while [ $# -gt 0 ]; do
    case $1 in
    --wheel | --find-links)
        [ $# -ge 2 ] || refuse "$1: a name must follow it"
        [ -e "$2" ] || refuse "$1 $2: there is no such thing"
        case $1 in --wheel) wheel=$(realpath "$2") ;; *) links=$(realpath "$2") ;; esac
        shift ;;
    live | journal) extras=$extras,$1 ;;
    *) refuse "$1: means nothing here; --wheel FILE, --find-links DIR, live or journal does" ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || refuse "must be run as root"

# ---- what the system must have ----------------------------------------------------------------------------------

need=
command -v "$python" >/dev/null 2>&1 || need="python3 python3-venv"
if [ -z "$need" ] && ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    need=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
fi
case $extras in *live*)
    ldconfig -p | grep -q 'libportaudio\.so\.2' || need="$need libportaudio2" ;;
esac
if [ "$extras" != cpu ] && [ -z "$links" ]; then # PyAudio and systemd-python have no wheels: they are built
    command -v gcc >/dev/null 2>&1 || need="$need gcc libc6-dev"
    ls /usr/include/python3*/Python.h >/dev/null 2>&1 || need="$need python3-dev"
    case $extras in *live*) [ -e /usr/include/portaudio.h ] || need="$need portaudio19-dev" ;; esac
    case $extras in *journal*)
        command -v pkg-config >/dev/null 2>&1 || need="$need pkg-config"
        [ -e /usr/include/systemd/sd-journal.h ] || need="$need libsystemd-dev" ;;
    esac
fi
if [ -n "$need" ]; then
    [ -z "$links" ] || refuse "missing system packages, and no network is to be used: $need"
    say "installing $need"
    # shellcheck disable=SC2086 # each word is a package
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' ||
    refuse "$python is $("$python" --version 2>&1); Python 3.9 or newer is needed (set PYTHON=...)"

mkdir -p "$home/releases"
exec 9>"$home/.lock"
flock -n 9 || refuse "another installation is running"
if [ -n "$links" ]; then export PIP_NO_INDEX=1 PIP_FIND_LINKS="$links"; fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# ---- the release --------------------------------------------------------------------------------------------------

if [ -z "$wheel" ]; then
    say "building a wheel of this checkout"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # of a copy: what an earlier build left in the checkout would get into the wheel
    mkdir -p "$work/source/models"
    cp -r setup.cfg pyproject.toml README.md LICENSE sonic_edge "$work/source"
    cp -r models/bundles "$work/source/models/bundles"
    "$python" -m venv "$work/venv"
    "$work/venv/bin/python" -m pip wheel --quiet --no-deps --wheel-dir "$work" "$work/source"
    wheel=$(echo "$work"/*.whl)
fi

# named by what is in it: the same wheel is the same release, whenever it was built
release=$home/releases/$("$python" - "$wheel" "$extras" <<'EOF'
import hashlib, os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    holds = sorted((member.filename, member.CRC) for member in wheel.infolist())
told = repr((holds, sys.argv[2], sys.version_info[:2])).encode()
print(os.path.basename(sys.argv[1]).split("-")[1] + "-" + hashlib.sha256(told).hexdigest()[:12])
EOF
)
if [ -e "$release/.ready" ]; then
    say "$release is there"
else
    say "making $release"
    rm -rf "$release"
    "$python" -m venv "$release"
    "$release/bin/python" -m pip install --quiet "$wheel[$extras]"
    mkdir -p "$release/share/sonic-edge/samples"
    cp board/samples/speech.flac "$release/share/sonic-edge/samples/speech.flac"
    "$release/bin/python" board/fetch_assets.py "$release/share/sonic-edge"
    sync -f "$release" # a power cut must not leave a release that only looks whole
    touch "$release/.ready"
fi

if [ ! -e "$settings" ]; then
    install -D -m 644 board/sonic-edge.yaml "$settings"
    say "$settings: the defaults"
fi
"$release/bin/sonic-edge" check-config --config "$settings" >/dev/null ||
    refuse "this release cannot use $settings as it is; nothing was changed"

point() { # NAME RELEASE: the link is always there, and always leads to a whole release
    ln -sfn "$2" "$home/.$1"
    mv -T "$home/.$1" "$home/$1"
}
old=$(readlink "$home/current" || true)
if [ -n "$old" ] && [ "$old" != "$release" ]; then point previous "$old"; fi
point current "$release"
ln -sfn "$home/current/bin/sonic-edge" /usr/local/bin/sonic-edge

# ---- the service --------------------------------------------------------------------------------------------------

runs=
if [ -d /run/systemd/system ]; then runs=yes; fi
put() { # FILE FOLDER
    install -D -m 644 "$1" "$2/${1##*/}"
}
units=
for file in $(find systemd -type f | sort); do
    case $file in
    */ascend.conf)
        # the driver of an Ascend chip makes this group
        if getent group HwHiAiUser >/dev/null; then put "$file" /etc/systemd/system/sonic-edge.service.d; fi ;;
    *sysusers*.conf)
        put "$file" /etc/sysusers.d
        systemd-sysusers "/etc/sysusers.d/${file##*/}" ;;
    *tmpfiles*.conf) put "$file" /etc/tmpfiles.d ;;
    *.rules) put "$file" /etc/udev/rules.d ;;
    *.service | *.slice | *.socket | *.target | *.timer | *.path)
        put "$file" /etc/systemd/system
        if grep -q '^\[Install\]' "$file"; then units="$units ${file##*/}"; fi ;;
    *) refuse "$file: it is not known where such a file goes" ;;
    esac
done
# after all users are there
for file in $(find systemd -type f -name '*.conf' -path '*tmpfiles*'); do
    systemd-tmpfiles --create "/etc/tmpfiles.d/${file##*/}"
done
# shellcheck disable=SC2086 # each word is a unit
systemctl --quiet enable $units
sync -f "$home"
sync -f /etc

if [ -n "$runs" ]; then
    systemctl daemon-reload
    if systemctl --quiet is-active systemd-udevd.service; then udevadm control --reload; fi
    say "starting$units"
    # a job under way is parked; this returns when the model has run once
    # shellcheck disable=SC2086
    systemctl restart $units ||
        refuse "$release does not start, see: journalctl -u sonic-edge; the one before is ${old:-none}"
fi

# ---- what is not needed any more -----------------------------------------------------------------------------------

previous=$(readlink "$home/previous" || true)
for folder in "$home"/releases/*/; do
    folder=${folder%/}
    if [ "$folder" != "$release" ] && [ "$folder" != "$previous" ]; then rm -rf "$folder"; fi
done
say "installed $release${previous:+; before it: $previous}"
