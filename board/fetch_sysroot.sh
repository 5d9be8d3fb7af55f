# Sourced by make_bundle.sh: compiled parts (the product's renderer, PyAudio, systemd-python) are built here for a box's
# Python, Debian and processor, with a cross compiler and a folder with the suite's headers and libraries.
# Nothing is emulated.

compiler=$triplet-gcc compiler_package=gcc-$(echo "$triplet" | tr _ -)
# for the machine's own architecture the package is just gcc
[ "$deb_arch" != "$(dpkg --print-architecture)" ] || compiler_package=gcc
case $python in # the suite with this Python
3.9) headers_of=bullseye ;;
3.10) headers_of=jammy ;;
3.11) headers_of=bookworm ;;
3.12) headers_of=noble ;;
esac

tools_of_machine() { # PROGRAM=PACKAGE ...: installed if missing, as in board/setup.sh
    need=
    for tool; do command -v "${tool%%=*}" >/dev/null 2>&1 || need="$need ${tool#*=}"; done
    [ -n "$need" ] || return 0
    [ "$(id -u)" = 0 ] || refuse "missing system packages, as root run: apt-get install$need"
    say "installing$need"
    # shellcheck disable=SC2086 # each word is a package
    apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >&2
}

sysroot_depends_on() {
    echo "$arch $suite $python $mirrors"
    cat board/fetch_sysroot.sh
}

fetch_sysroot() { # OUT: usr with headers and libraries; about, with that Python's build settings
    fetch_debs "$work/apt-$suite" "$suite" "$deb_arch" libc6-dev portaudio19-dev libsystemd-dev
    for deb in "$work/apt-$suite"/var/cache/apt/archives/*.deb; do dpkg-deb --extract "$deb" "$1"; done
    # that Python's headers and its sysconfig data, which CPython uses for cross builds
    fetch_debs "$work/apt-$headers_of" "$headers_of" "$deb_arch" "libpython$python-dev"
    for deb in "$work/apt-$headers_of/var/cache/apt/archives/libpython$python"*.deb; do
        dpkg-deb --extract "$deb" "$1"
    done
    about=_sysconfigdata__$triplet
    mkdir "$1/about"
    cp "$(find "$1/usr/lib/python$python" -name "$about.py")" "$1/about"
    # setuptools names a wheel after the running Python and fails if this differs; build_wheels corrects the name
    echo 'import sys; build_time_vars["SOABI"] = "cpython-%d%d" % sys.version_info[:2]' >>"$1/about/$about.py"
    rm -rf "$1/usr/lib/python$python" "${1:?}/usr/share" # no compiler looks there
    # absolute links would lead out of the folder
    find "$1" -type l -lname '/*' | while read -r link; do
        ln -sfn "$(realpath -sm --relative-to="$(dirname "$link")" "$1$(readlink "$link")")" "$link"
    done
}

build_wheels() { # OUT WHAT ...: pip requirements, or folders
    made=$1
    shift
    cat >"$work/cc" <<END
#!/bin/sh
# PyAudio adds this machine's own folders, which are wrong for another machine
for word; do
    shift
    case \$word in -I/usr/* | -L/usr/*) ;; *) set -- "\$@" "\$word" ;; esac
done
exec $compiler --sysroot=$sysroot "\$@"
END
    chmod +x "$work/cc"
    (
        export PYTHONPATH="$sysroot/about" _PYTHON_SYSCONFIGDATA_NAME="_sysconfigdata__$triplet"
        export PKG_CONFIG_LIBDIR="$sysroot/usr/lib/$triplet/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$sysroot"
        export CC="$work/cc" LDSHARED="$work/cc -shared" LDFLAGS=-Wl,--build-id=none
        export CFLAGS="-I$sysroot/usr/include/python$python -g0 -ffile-prefix-map=$work=."
        pip wheel --no-deps --no-build-isolation --no-binary=:all: --no-cache-dir --wheel-dir "$work/any" "$@"
    ) || refuse "$*: cannot be built for Python $python on $arch, $suite"
    tag=cp$(echo "$python" | tr -d .)
    "$venv/bin/python" -m wheel tags --remove --python-tag "$tag" --abi-tag "$tag" --platform-tag "linux_$arch" \
        "$work"/any/*.whl >&2
    mkdir "$made"
    mv "$work"/any/*.whl "$made"
}
