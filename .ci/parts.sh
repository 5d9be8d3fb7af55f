# Sourced by run and everything: what both of them need.
#
# shellcheck shell=sh

step() { printf '\n== %s\n' "$*"; }

not_run() { printf 'NOT RUN: %s\n' "$*"; }

find_python() { # 3.X: where one is; nothing, if there is none
    for candidate in "$(command -v "python$1" || true)" "$HOME"/.pyenv/versions/"$1".*/bin/"python$1"; do
        # a version manager leaves a stand-in that finds nothing
        if "$candidate" -c "" >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
}

test_on() { # 3.X: all tests on that Python, where it is here; else NOT RUN
    python=$(find_python "$1")
    if [ -n "$python" ]; then
        PYTHON=$python make test VENV=".venv$(echo "$1" | tr -d .)"
    else
        not_run "the tests on Python $1: there is no python$1 here"
    fi
}

check_wheel() { # That the wheel holds what it needs
    # what an earlier build left would get into it
    rm -rf build/wheel build/lib* build/temp* build/bdist* &&
        .venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel . &&
        .venv/bin/python board/check_wheel.py build/wheel/*.whl
}

of_model="tests/model/test_onnx_narrow.py tests/model/test_onnx_cut.py tests/model/test_reference.py
    tests/model/test_backends.py tests/engine/test_stream.py tests/engine/test_mirror.py
    models/tests/test_chip_graphs.py models/tests/test_widen.py models/tests/test_model_bundle.py"

test_narrow() { # The tests that run the model, as on a processor whose integer sums stop at 16 bits; 3: it said NOT RUN
    # shellcheck disable=SC2086 # each word is a file
    .venv/bin/python board/processors --on "AVX2, no VNNI" -- .venv/bin/python -m pytest -q -p no:faulthandler $of_model
}

test_mindspore() {
    if [ -e models/.venv/ready ]; then
        make model-test
    else
        not_run "the tests that need MindSpore: its 3 GB are not installed here (make model-test installs them)"
    fi
}

quick="tests/test_config.py tests/test_journal.py tests/cli/test_cli.py tests/hardware tests/spool/test_submit.py
    tests/spool/test_quota.py tests/service/test_control.py tests/service/test_metrics.py tests/service/test_worker.py
    tests/live/test_record.py tests/engine/test_pixels.py tests/engine/test_motion.py tests/engine/test_geometry.py
    tests/engine/test_sonic.py tests/model/test_bundle.py tests/model/test_mel.py"

test_newest() { # On the newest Python that Debian has (13, trixie): it is installed, a video made, the quick tests pass
    python=$(find_python 3.13)
    if [ -z "$python" ]; then
        not_run "the smoke run on Python 3.13: there is no python3.13 here"
        return
    fi
    samples=.venv313/share/sonic-edge/samples
    # shellcheck disable=SC2086 # each word is a file
    make .venv313/ready-test VENV=.venv313 PYTHON="$python" && mkdir -p build/newest &&
        .venv313/bin/sonic-edge render $samples/portrait.jpg $samples/speech.flac -o build/newest/talking.mp4 \
            --set min_resolution=128 &&
        .venv313/bin/python -m pytest -q $quick
}
