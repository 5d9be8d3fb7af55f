# Sourced by make_bundle.sh: what is compiled for a box (the product's own pixels, PyAudio, systemd-python) is built here
# for another Python, another Debian and another processor: with a cross compiler, and headers and libraries of the suite
# in a folder. Nothing is emulated.

compiler=$triplet-gcc compiler_package=gcc-$(echo "$triplet" | tr _ -)
# the machine's own has that name too
[ "$deb_arch" != "$(dpkg --print-architecture)" ] || compiler_package=gcc
case $python in # the suite whose Python it is
3.9) headers_of=bullseye ;;
3.10) headers_of=jammy ;;
3.11) headers_of=bookworm ;;
3.12) headers_of=noble ;;
esac

tools_of_machine() { # PROGRAM=PACKAGE ...: installed where they are missing, as board/setup.sh does
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

fetch_sysroot() { # OUT: usr with headers and libraries; about, where that Python says how it was built
    fetch_debs "$work/apt-$suite" "$suite" "$deb_arch" libc6-dev portaudio19-dev libsystemd-dev
    for deb in "$work/apt-$suite"/var/cache/apt/archives/*.deb; do dpkg-deb --extract "$deb" "$1"; done
    # that Python's headers, and its own word on compilers and names: what CPython uses to build for another machine
    fetch_debs "$work/apt-$headers_of" "$headers_of" "$deb_arch" "libpython$python-dev"
    for deb in "$work/apt-$headers_of/var/cache/apt/archives/libpython$python"*.deb; do
        dpkg-deb --extract "$deb" "$1"
    done
    about=_sysconfigdata__$triplet
    mkdir "$1/about"
    cp "$(find "$1/usr/lib/python$python" -name "$about.py")" "$1/about"
    # setuptools names a wheel by what runs it, and must not be at odds with itself; named rightly by build_wheels
    echo 'import sys; build_time_vars["SOABI"] = "cpython-%d%d" % sys.version_info[:2]' >>"$1/about/$about.py"
    rm -rf "$1/usr/lib/python$python" "${1:?}/usr/share" # no compiler looks there
    # what leads to the root of the file system leads out of the folder
    find "$1" -type l -lname '/*' | while read -r link; do
        ln -sfn "$(realpath -sm --relative-to="$(dirname "$link")" "$1$(readlink "$link")")" "$link"
    done
}

build_wheels() { # OUT WHAT ...: requirements of pip, or folders
    made=$1
    shift
    cat >"$work/cc" <<END
#!/bin/sh
# PyAudio names this machine's own folders, which are another machine's here
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
