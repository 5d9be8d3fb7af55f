#!/bin/sh
# Make one file with everything an offline box needs: this checkout's product, its Python packages, Debian packages,
# face networks, model, units, documents, and install.sh. Runs on any Debian or Ubuntu with a package index.
#
#   board/make_bundle.sh [OPTION ...]
#
#   --arch ARCH             aarch64 (the default) or x86_64
#   --suite SUITE           the box's system: bullseye (Debian 11, the default), bookworm (12), jammy (Ubuntu 22.04)
#   --python 3.X            the box's Python, 3.9 to 3.12; default: the suite's own (3.9, 3.11, 3.10). Any other must
#                           already be on the box, as python3.X
#   --here                  for a box like this machine
#   --without PART          live: microphone and loudspeaker (PyAudio); journal: `journalctl JOB=name` (systemd-python);
#                           screen: mpv. May be repeated
#   --model FOLDER          also pack a model bundle of your own. May be repeated
#   --mindspore-lite WHEEL  also pack the vendor's wheel of MindSpore Lite, for an Ascend chip
#   --mirror URI            where Debian packages come from instead of this machine's mirror; taken as Ubuntu's if it
#                           ends in /ubuntu or /ubuntu-ports: for jammy, and for headers of Python 3.10 and 3.12.
#                           Give it twice to set both
#   --out FOLDER            where the file goes (default build/bundle)
#   --fresh                 download everything again; otherwise earlier downloads are reused
#
# Makes sonic-edge-VERSION-ARCH-SUITE-pyPYTHON.tar and its .sha256. The same inputs give the same bytes.
#
# VENV   the environment whose Python and pip are used (default .venv; board/setup.sh makes it)
set -eu
cd "$(dirname "$0")/.."
umask 022
export SOURCE_DATE_EPOCH=315532800 # in wheels; zip has no dates before 1980

say() { echo "bundle: $*" >&2; }
refuse() {
    echo "bundle: $*" >&2
    exit 1
}

arch=aarch64 suite=bullseye python='' without='' debian_mirror='' ubuntu_mirror='' out=build/bundle fresh='' lite=''
models=$(mktemp) # one per line: names may contain spaces
trap 'rm -rf "$models"' EXIT
while [ $# -gt 0 ]; do
    case $1 in
    --arch | --suite | --python | --without | --model | --mindspore-lite | --mirror | --out)
        [ $# -ge 2 ] || refuse "$1: a value must follow it"
        case $1 in
        --arch) arch=$2 ;;
        --suite) suite=$2 ;;
        --python) python=$2 ;;
        --without) without="$without $2" ;;
        --model)
            [ -e "$2/bundle.yaml" ] || refuse "--model $2: not a model bundle: it has no bundle.yaml"
            realpath "$2" >>"$models" ;;
        --mindspore-lite)
            [ -f "$2" ] || refuse "--mindspore-lite $2: there is no such file"
            lite=$(realpath "$2") ;;
        --mirror)
            case ${2%/} in */ubuntu | */ubuntu-ports) ubuntu_mirror=$2 ;; *) debian_mirror=$2 ;; esac ;;
        --out) out=$2 ;;
        esac
        shift ;;
    --here)
        arch=$(uname -m)
        # shellcheck source=/dev/null # the system's own
        suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
        python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])') ;;
    --fresh) fresh=yes ;;
    *) refuse "$1: unexpected argument; see the top of board/make_bundle.sh" ;;
    esac
    shift
done

case $arch in
aarch64) deb_arch=arm64 ;;
x86_64) deb_arch=amd64 ;;
*) refuse "--arch $arch: must be aarch64 or x86_64" ;;
esac
triplet=$arch-linux-gnu
case $suite in # its Python, its C library
bullseye) own=3.9 libc=31 ;;
jammy) own=3.10 libc=35 ;;
bookworm) own=3.11 libc=36 ;;
*) refuse "--suite $suite: must be bullseye, bookworm or jammy (the units are too new for the systemd of older ones)" ;;
esac
python=${python:-$own}
case $python in
3.9 | 3.10 | 3.11 | 3.12) ;;
*) refuse "--python $python: must be 3.9, 3.10, 3.11 or 3.12" ;;
esac
extras=cpu parts="live journal screen" packages='' unwheeled=''
for part in $without; do
    case $part in live | journal | screen) ;; *) refuse "--without $part: must be live, journal or screen" ;; esac
    parts=$(echo " $parts " | sed "s/ $part / /")
done
[ "$python" != "$own" ] || packages="python$python"
[ "$packages" != python3.9 ] || packages="$packages python3-distutils" # pip needs it there, and Debian packages it separately
for part in $parts; do
    case $part in
    live) extras=$extras,live unwheeled="$unwheeled live" packages="$packages libportaudio2 alsa-utils" ;;
    journal) extras=$extras,journal unwheeled="$unwheeled journal" ;;
    screen) packages="$packages mpv" ;;
    esac
done
packages=${packages# }
mirrors="$debian_mirror $ubuntu_mirror"

# shellcheck source=board/fetch_debs.sh
. board/fetch_debs.sh
# shellcheck source=board/fetch_sysroot.sh
. board/fetch_sysroot.sh
# shellcheck source=board/fetch_wheels.sh
. board/fetch_wheels.sh

# ---- the parts ----------------------------------------------------------------------------------------------------

venv=$(realpath -m "${VENV:-.venv}")
"$venv/bin/python" -c 'import packaging, setuptools, wheel' 2>/dev/null || VENV=$venv board/setup.sh bundle >&2
work=$(mktemp -d)
trap 'rm -rf "$models" "$work"' EXIT
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sonic-edge/bundle
mkdir -p "$cache"
find "$cache" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} +

kept() { # KIND WHAT-IT-DEPENDS-ON COMMAND: a cached folder, filled by COMMAND FOLDER
    folder=$cache/$1-$(printf '%s\n' "$2" | sha256sum | cut -c 1-16)
    [ -z "$fresh" ] || rm -rf "$folder"
    if [ -d "$folder" ]; then
        say "$1: as fetched on $(date -r "$folder" +%F) ($folder; --fresh fetches them again)"
    else
        say "$1: fetching"
        mkdir "$work/$1"
        "$3" "$work/$1"
        part=$(mktemp -d "$cache/part-XXXXXX")
        cp -r "$work/$1/." "$part"
        chmod 755 "$part"
        mv -T "$part" "$folder" 2>/dev/null || rm -rf "$part" # another run may have been faster
    fi
}

tools_of_machine "$compiler=$compiler_package" ${unwheeled:+pkg-config=pkg-config}
kept sysroot "$(sysroot_depends_on)" fetch_sysroot
sysroot=$work/root
ln -s "$folder" "$sysroot" # compiler flags cannot contain a blank, but a home can

say "the product's own wheel"
make_own_wheel "$work/own"
wheel=$(echo "$work"/own/*.whl)
"$venv/bin/python" board/check_wheel.py "$wheel" >&2 || refuse "the product's own wheel is wrong: see above"
version=$(basename "$wheel" | cut -d - -f 2)
name=sonic-edge-$version-$arch-$suite-py$python
box=$work/$name
mkdir -p "$box/wheels" "$box/debs" "$box/share" "$box/docs"

kept wheels "$(wheels_depend_on)" fetch_wheels
cp "$folder"/*.whl "$wheel" "$box/wheels"
"$venv/bin/python" board/wheelhouse.py check "$box/wheels" "$python" "$arch" \
    "sonic-edge[$extras]" pip ${lite:+mindspore_lite} ||
    refuse "these are not the wheels of Python $python on $arch"

take_debs() { # FOLDER
    # shellcheck disable=SC2086 # each word is a package
    fetch_debs "$work/apt-box" "$suite" "$deb_arch" $packages
    mv "$work"/apt-box/var/cache/apt/archives/*.deb "$1"
    index_debs "$1"
}

if [ -n "$packages" ]; then
    kept debs "$deb_arch $suite $mirrors $packages" take_debs
    cp -r "$folder/." "$box/debs"
fi

"$venv/bin/python" board/fetch_assets.py "$venv/share/sonic-edge" >&2
cp -r "$venv/share/sonic-edge/face" "$box/share"
mkdir "$box/share/samples"
cp board/samples/speech.flac "$venv/share/sonic-edge/samples/portrait.jpg" "$box/share/samples"
cp -r systemd "$box"
for file in docs/*.md README.md README.zh.md LICENSE; do
    [ "$file" = docs/README.md ] || cp "$file" "$box/docs" # all in one folder there, whose README is the product's
done
mkdir "$box/board"
for file in board/*.sh board/first_light.py board/sonic-edge.yaml; do
    case $file in */make_bundle.sh | */fetch_*.sh | */setup.sh | */install.sh) ;; *) cp "$file" "$box/board" ;; esac
done
cp board/install.sh "$box/install.sh"
while read -r model; do
    mkdir -p "$box/models"
    [ ! -e "$box/models/${model##*/}" ] || refuse "--model: two have the name ${model##*/}"
    cp -rL "$model" "$box/models"
done <"$models"
cat >"$box/bundle.txt" <<END
version=$version
arch=$arch
suite=$suite
python=$python
extras=$extras
packages=$packages
mindspore_lite=${lite:+wheels/$(basename "$lite")}
END

# ---- one file ---------------------------------------------------------------------------------------------------------

(cd "$box" && find . -type f | LC_ALL=C sort | tr '\n' '\0' | xargs -0 sha256sum >"$work/SHA256SUMS")
mv "$work/SHA256SUMS" "$box"
mkdir -p "$out"
tar --create --format=gnu --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=a=rX,u+w \
    --directory "$work" --file "$out/.$name.tar" "$name"
mv "$out/.$name.tar" "$out/$name.tar"
(cd "$out" && sha256sum "$name.tar" >"$name.tar.sha256")

say "$(du -m "$out/$name.tar" | cut -f 1) MB: $(find "$box/wheels" -name '*.whl' | wc -l) wheels," \
    "$(find "$box/debs" -name '*.deb' | wc -l) Debian packages ($parts)"
say "copy it and its .sha256 to the box, and run there:"
say "  sha256sum -c $name.tar.sha256 && tar -xf $name.tar && sudo $name/install.sh"
echo "$out/$name.tar"
