#!/bin/sh
# Make a release from this checkout, as git knows it: a wheel for this Python and processor, and the source package.
# Both are checked, and the wheel is installed in a clean environment elsewhere, where it makes the sample's video.
#
#   board/make_release.sh [FOLDER]    where they go (default build/release); what is there is made anew
#
# VENV   the environment whose Python does it (default .venv; `board/setup.sh release` makes it)
set -eu
cd "$(dirname "$0")/.."
umask 022
out=${1:-build/release}
venv=$(realpath -m "${VENV:-.venv}")
python=$venv/bin/python
share=$venv/share/sonic-edge
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { echo "release: $*" >&2; }
refuse() {
    say "$*"
    exit 1
}

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) || refuse "$PWD: no checkout of git; a release is made of one"
export SOURCE_DATE_EPOCH PIP_DISABLE_PIP_VERSION_CHECK=1
version=$(sed -n 's/^version = //p' setup.cfg)
grep -q "^## \[$version\] - " CHANGELOG.md || refuse "CHANGELOG.md: has no section for $version with its day"

say "wheel and source package of $version"
mkdir "$work/source" "$work/made" "$work/again"
# what an earlier build left in the checkout must not get into them
git ls-files -z | xargs -0 cp --parents -t "$work/source"
"$python" -m build --sdist --wheel --outdir "$work/made" "$work/source" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    refuse "cannot be built"
}
wheel=$(echo "$work"/made/*.whl) source=$(echo "$work"/made/*.tar.gz)

say "are they as an index wants them, is everything in them?"
"$python" -m twine check --strict "$wheel" "$source" >&2
"$python" board/check_wheel.py "$wheel" >&2
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$work/again" "$source"
"$python" board/check_wheel.py "$work"/again/*.whl --same "$wheel" >&2

say "the wheel by itself, elsewhere"
mkdir "$work/elsewhere"
"$python" -m venv "$work/clean"
cd "$work/elsewhere"
alone() { env -i HOME="$work/elsewhere" PATH="$work/clean/bin:/usr/bin:/bin" LANG=C.UTF-8 "$@"; }
"$work/clean/bin/python" -m pip install --quiet "${wheel}[cpu]"
"$work/clean/bin/python" -m pip check >&2
# these are no part of it: the face networks, and the sample
mkdir -p "$work/clean/share/sonic-edge"
cp -r "$share/face" "$share/samples" "$work/clean/share/sonic-edge"
said=$(alone sonic-edge --version)
case $said in "sonic-edge $version,"*) say "$said" ;; *) refuse "sonic-edge --version says $said" ;; esac
for file in man/man1/sonic-edge.1 bash-completion/completions/sonic-edge zsh/site-functions/_sonic-edge; do
    [ -s "$work/clean/share/$file" ] || refuse "the wheel did not install share/$file"
done
samples=$work/clean/share/sonic-edge/samples
alone sonic-edge render "$samples/portrait.jpg" "$samples/speech.flac" -o talking.mp4 >&2
[ -s talking.mp4 ] || refuse "the wheel made no video"
cd - >/dev/null

rm -rf "$out"
mkdir -p "$out"
mv "$wheel" "$source" "$out"
size() { du -k "$1" | cut -f 1; }
set -- "$out/$(basename "$wheel")" "$out/$(basename "$source")"
echo "made, checked and tried: $1 ($(size "$1") kB) and $2 ($(size "$2") kB)"
