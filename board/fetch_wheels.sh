# Sourced by make_bundle.sh: the product's own wheel, and every wheel it needs on the box. Packages without wheels
# (PyAudio, systemd-python) are built here like the product's own: board/fetch_sysroot.sh.

pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@" >&2; }

make_own_wheel() { # OUT
    mkdir -p "$work/source/models" "$work/source/board"
    # from a copy: leftovers of earlier builds in the checkout would get into the wheel
    cp -r setup.cfg setup.py pyproject.toml README.md LICENSE sonic_edge "$work/source"
    cp -r models/bundles "$work/source/models/bundles"
    cp -r board/shell "$work/source/board/shell"
    find "$work/source" -name __pycache__ -prune -exec rm -rf {} +
    find "$work/source" -name '*.so' -delete
    chmod -R a=rX,u+w "$work/source"
    build_wheels "$1" "$work/source"
}

wheels_depend_on() {
    "$venv/bin/python" board/wheelhouse.py needs "$wheel"
    echo "$arch $suite $python $extras"
    cat board/fetch_sysroot.sh board/fetch_wheels.sh
    [ -z "$lite" ] || sha256sum <"$lite"
}

fetch_wheels() { # OUT
    sources=
    # shellcheck disable=SC2086 # each word is an extra
    [ -z "$unwheeled" ] || sources=$("$venv/bin/python" board/wheelhouse.py needs "$wheel" $unwheeled)
    # shellcheck disable=SC2086 # each word is a requirement
    [ -z "$sources" ] || build_wheels "$work/built" $sources
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
        refuse "the wheels for Python $python on $arch, $suite (glibc 2.$libc) are not available"
    rm "$fetched/$(basename "$wheel")" # rebuilt each time
}
