# Sourced by make_bundle.sh: the product's own wheel, and every wheel it needs on the box. What has no wheels (PyAudio,
# systemd-python) is built here for another Python, another Debian and another processor: with a cross compiler, and
# headers and libraries of the suite in a folder. Nothing is emulated.

pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@" >&2; }

make_own_wheel() { # OUT
    mkdir -p "$work/source/models"
    # of a copy: what an earlier build left in the checkout would get into the wheel
    cp -r setup.cfg pyproject.toml README.md LICENSE sonic_edge "$work/source"
    cp -r models/bundles "$work/source/models/bundles"
    find "$work/source" -name __pycache__ -prune -exec rm -rf {} +
    chmod -R a=rX,u+w "$work/source"
    pip wheel --no-deps --no-build-isolation --wheel-dir "$1" "$work/source"
}

wheels_depend_on() {
    "$venv/bin/python" board/wheelhouse.py needs "$wheel"
    echo "$arch $suite $python $extras"
    cat board/fetch_wheels.sh
    [ -z "$lite" ] || sha256sum <"$lite"
}

fetch_wheels() { # OUT
    sources=
    # shellcheck disable=SC2086 # each word is an extra
    [ -z "$unwheeled" ] || sources=$("$venv/bin/python" board/wheelhouse.py needs "$wheel" $unwheeled)
    # shellcheck disable=SC2086 # each word is a requirement
    [ -z "$sources" ] || build_wheels $sources
    fetched=$1
    set -- --platform "linux_$arch" --platform "manylinux1_$arch" --platform "manylinux2010_$arch" \
        --platform "manylinux2014_$arch"
    minor=5
    while [ "$minor" -le "$libc" ]; do
        set -- "$@" --platform "manylinux_2_${minor}_$arch"
        minor=$((minor + 1))
    done
    [ -z "$sources" ] || set -- "$@" --find-links "$work/built"
    pip download --only-binary=:all: --implementation cp --python-version "$python" "$@" \
        --dest "$fetched" "sonic-edge[$extras] @ file://$wheel" pip ${lite:+"$lite"} ||
        refuse "the wheels for Python $python on $arch, $suite (glibc 2.$libc) cannot be had"
    rm "$fetched/$(basename "$wheel")" # made anew each time
}

build_wheels() { # REQUIREMENT ...: into work/built
    compiler=$triplet-gcc
    package=gcc-$(echo "$triplet" | tr _ -)
    [ "$deb_arch" != "$(dpkg --print-architecture)" ] || package=gcc # the machine's own, which has that name too
    tools_of_machine "$compiler=$package" pkg-config=pkg-config
    case $python in 3.9) of=bullseye ;; 3.10) of=jammy ;; 3.11) of=bookworm ;; *) of= ;; esac
    [ -n "$of" ] || refuse "--python $python: no suite known here has its headers: --without live --without journal"
    sysroot=$work/sysroot
    mkdir "$sysroot" "$work/about"
    fetch_debs "$work/apt-$suite" "$suite" "$deb_arch" "$mirror" libc6-dev portaudio19-dev libsystemd-dev
    for deb in "$work/apt-$suite"/var/cache/apt/archives/*.deb; do dpkg-deb --extract "$deb" "$sysroot"; done
    # that Python's headers, and its own word on compilers and names: what CPython uses to build for another machine
    fetch_debs "$work/apt-$of" "$of" "$deb_arch" "$([ "$of" != "$suite" ] || echo "$mirror")" "libpython$python-dev"
    for deb in "$work/apt-$of/var/cache/apt/archives/libpython$python"*.deb; do
        dpkg-deb --extract "$deb" "$sysroot"
    done
    # what leads to the root of the file system leads out of the folder
    find "$sysroot" -type l -lname '/*' | while read -r link; do ln -sfn "$sysroot$(readlink "$link")" "$link"; done
    about=_sysconfigdata__$triplet
    cp "$(find "$sysroot/usr/lib/python$python" -name "$about.py")" "$work/about"
    # setuptools names a wheel by what runs it, and must not be at odds with itself; named rightly below
    echo 'import sys; build_time_vars["SOABI"] = "cpython-%d%d" % sys.version_info[:2]' >>"$work/about/$about.py"
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
        export PYTHONPATH="$work/about" _PYTHON_SYSCONFIGDATA_NAME="$about"
        export PKG_CONFIG_LIBDIR="$sysroot/usr/lib/$triplet/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$sysroot"
        export CC="$work/cc" LDSHARED="$work/cc -shared"
        export CFLAGS="-I$sysroot/usr/include/python$python -g0 -ffile-prefix-map=$work=." LDFLAGS=-Wl,--build-id=none
        pip wheel --no-deps --no-build-isolation --no-binary=:all: --no-cache-dir --wheel-dir "$work/any" "$@"
    ) || refuse "$*: cannot be built for Python $python on $arch, $suite"
    tag=cp$(echo "$python" | tr -d .)
    "$venv/bin/python" -m wheel tags --remove --python-tag "$tag" --abi-tag "$tag" --platform-tag "linux_$arch" \
        "$work"/any/*.whl >&2
    mkdir "$work/built"
    mv "$work"/any/*.whl "$work/built"
}

tools_of_machine() { # PROGRAM=PACKAGE ...: installed where they are missing, as board/setup.sh does
    need=
    for tool; do command -v "${tool%%=*}" >/dev/null 2>&1 || need="$need ${tool#*=}"; done
    [ -n "$need" ] || return 0
    [ "$(id -u)" = 0 ] || refuse "missing system packages, as root run: apt-get install$need"
    say "installing$need"
    # shellcheck disable=SC2086 # each word is a package
    apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >&2
}
