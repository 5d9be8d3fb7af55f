#!/bin/sh
# Install Sonic Edge as a service on this Debian or Ubuntu, as root, without a network, from the unpacked bundle that
# board/make_bundle.sh makes (this script is at its top). A newer bundle upgrades in the same way: a job in progress is
# put back, and redone from the start by the new release. Safe to run again.
#
# The release must start and run its model once; otherwise this fails, and the previous release runs again.
# What goes where: board/release.sh. The settings, /etc/sonic-edge/sonic-edge.yaml, are created once and never changed.
#
# READY_S   time for a release to start and run its model once (default 600 s)
# PYTHON    the box's interpreter, if it is not python3.X on the PATH
set -eu
me=install
here=$(dirname "$(readlink -f "$0")")
if [ ! -e "$here/bundle.txt" ]; then
    echo "$me: $here is not an unpacked bundle: make one with board/make_bundle.sh, which says how to use it" >&2
    exit 1
fi
cd "$here"
# shellcheck source=board/release.sh
. board/release.sh
settings=/etc/sonic-edge/sonic-edge.yaml

[ $# = 0 ] || refuse "$1: unexpected argument; there are none"
bundle() { sed -n "s/^$1=//p" bundle.txt; }

# ---- is the bundle for this box, and undamaged? ----------------------------------------------------------------------

[ -e /etc/debian_version ] || refuse "this box does not run Debian or Ubuntu; this bundle is for $(bundle suite)"
case $(dpkg --print-architecture) in arm64) arch=aarch64 ;; amd64) arch=x86_64 ;; *) arch=$(uname -m) ;; esac
# shellcheck source=/dev/null # the system's own
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-unknown}")
[ "$arch" = "$(bundle arch)" ] || refuse "this bundle is for $(bundle arch), this box is $arch; nothing was changed"
[ "$suite" = "$(bundle suite)" ] || refuse "this bundle is for $(bundle suite), this box has $suite; nothing was changed"
say "checking $(bundle version) for $arch, $suite, Python $(bundle python)"
[ "$(cut -c 67- SHA256SUMS)" = "$(find . -type f ! -path ./SHA256SUMS | LC_ALL=C sort)" ] ||
    refuse "files are missing or unexpected in $here: unpack the bundle again; nothing was changed"
sha256sum --quiet --check SHA256SUMS >&2 ||
    refuse "the bundle is damaged: copy it again, and unpack it again; nothing was changed"
begin

# ---- Debian packages -------------------------------------------------------------------------------------------------

lacking=
for package in $(bundle packages); do
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
        lacking="$lacking $package"
done
if [ -n "$lacking" ]; then
    say "installing$lacking"
    dpkg --configure -a # the last installation may have been cut short
    # apt, with this folder as its only source; packages on the box stay as they are unless these need newer ones
    mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
    ln -s "$here/debs" "$scratch/debs"
    echo "deb [trusted=yes] file:$scratch/debs ./" >"$scratch/sources.list"
    set -- -q -o Dir::Etc::SourceList="$scratch/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$scratch/lists" -o Dir::Cache="$scratch/cache" -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o APT::Install-Recommends=false -o Dpkg::Use-Pty=0
    export DEBIAN_FRONTEND=noninteractive
    apt-get "$@" update >"$scratch/apt.txt" 2>&1 || cat "$scratch/apt.txt" >&2
    # shellcheck disable=SC2086 # each word is a package
    apt-get "$@" install --yes --no-upgrade --no-remove $lacking </dev/null >"$scratch/apt.txt" 2>&1 9>&- || {
        cat "$scratch/apt.txt" >&2
        refuse "cannot be installed on this box:$lacking. If the box has newer versions than the bundle, rebuild the" \
            "bundle with --fresh, or --without the part that needs them. The running release was not changed"
    }
fi

wanted=$(bundle python)
python=${PYTHON:-python$wanted}
command -v "$python" >/dev/null || refuse "$python: not on this box, whose suite has another version: install Python $wanted"
[ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = "$wanted" ] ||
    refuse "this bundle is for Python $wanted; $python is $("$python" --version 2>&1)"
"$python" -c 'import venv' || refuse "$python: its module venv is missing"

# ---- the release -------------------------------------------------------------------------------------------------------

# named by the hash of its contents
release=$home/releases/$(bundle version)-$(sha256sum <SHA256SUMS | cut -c 1-12)
if [ -e "$release/.ready" ] && "$release/bin/python" -c ''; then
    say "$release already exists"
else
    say "making $release"
    rm -rf "$release"
    needed_mb=$((4 * $(du -sm wheels | cut -f 1) + 200))
    free_mb=$(($(stat --file-system --format '%a * %S / 1048576' "$home")))
    [ "$free_mb" -gt "$needed_mb" ] || refuse "$home: $free_mb MB are free, $needed_mb MB are needed"
    half=$release
    "$python" -m venv --without-pip "$release" # Debian's pip for it is in a package tied to one patch level
    lite=$(bundle mindspore_lite) pip=$(echo "$here"/wheels/pip-*.whl)
    # PIP_CONFIG_FILE: ignore the configuration of this box's own pip
    PIP_CONFIG_FILE=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
        "$release/bin/python" "$pip/pip" install --quiet --no-index --find-links "$here/wheels" --no-cache-dir \
        "$(echo "$here"/wheels/sonic_edge-*.whl)[$(bundle extras)]" "$pip" ${lite:+"$here/$lite"}
    mkdir -p "$release/$share" "$release/share/doc/sonic-edge"
    cp -r share/. systemd board "$release/$share"
    cp docs/* "$release/share/doc/sonic-edge"
    chmod -R a+rX "$release"
    sync -f "$release" # a power cut must not leave a release that only looks complete
    touch "$release/.ready"
    half=
fi
if [ ! -e "$settings" ]; then
    install -D -m 644 board/sonic-edge.yaml "$settings"
    say "$settings: the defaults"
fi
"$release/bin/sonic-edge" check-config --config "$settings" >/dev/null ||
    refuse "${release##*/} cannot use $settings as it is; the running release was not changed"

switch_to "$release"
for model in models/*; do
    [ ! -e "$model" ] || /usr/local/bin/sonic-edge model install --config "$settings" "$model" ||
        refuse "${release##*/} runs, but could not store the model ${model##*/}"
done
tidy
previous=$(readlink "$home/previous" || true)
say "installed ${release##*/}${previous:+; previous: ${previous##*/}, to which $home/rollback returns}"
