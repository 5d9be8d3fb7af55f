#!/bin/sh
# The first run of Sonic Edge on a board with an Ascend chip: checks driver, software and model, makes one video on the
# chip and the same on the CPU, and compares results and times. It writes only to its own folder. NOT RUN on an
# Ascend: tested from end to end with doubles of the vendor's tools (tests/board/test_first_light.py).
#
#   board/first-light.sh [--backend acl|mindspore_lite] [--bundle FOLDER] [--device N] [--cann PLACE] [--out FOLDER]
#                        [PHOTO RECORDING]
#
#   --backend   what runs the model (default mindspore_lite); docs/CHIP.md says which to choose
#   --bundle    a bundle compiled for this chip elsewhere; without it the model is taken from here or compiled
#   --device    which chip (default 0)
#   --cann      CANN's folder or set_env.sh, if it is in an unusual place
#   --out       where videos and log go (default ./first-light)
#   PHOTO RECORDING   a face and its speech (default: the samples)
#
# Exit status: 0 all steps passed; 1 a step failed, and said what to do. Send OUT/first-light.log to get help.
set -eu
home=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)

say() { echo "$*"; }
step() { printf '\n[%s/6] %s\n' "$1" "$2"; }
stop() { # WHAT [WHAT TO DO ...]
    printf 'STOPPED: %s\n' "$1"
    shift
    for line; do printf '  -> %s\n' "$line"; done
    exit 1
}

backend=mindspore_lite bundle=sonic-net device=0 cann='' out=first-light
while [ $# -gt 0 ]; do
    case $1 in
    --backend | --bundle | --device | --cann | --out)
        [ $# -ge 2 ] || stop "$1: a value must follow it"
        case $1 in
        --backend) backend=$2 ;;
        --bundle) bundle=$2 ;;
        --device) device=$2 ;;
        --cann) cann=$2 ;;
        --out) out=$2 ;;
        esac
        shift 2 ;;
    --*) stop "$1: unexpected argument; the comment at the top of $0 lists them" ;;
    *) break ;;
    esac
done
case $backend in acl | mindspore_lite) ;; *) stop "--backend $backend: must be acl or mindspore_lite" ;; esac
case $device in '' | *[!0-9]*) stop "--device $device: must be a whole number" ;; esac
[ $# = 0 ] || [ $# = 2 ] || stop "a photo and a recording, or neither"
mkdir -p "$out"
out=$(cd "$out" && pwd)
if [ -d "$bundle" ]; then bundle=$(cd "$bundle" && pwd); fi

program=${SONIC_EDGE:-/opt/sonic-edge/current/bin/sonic-edge}
[ -x "$program" ] || program=$home/.venv/bin/sonic-edge
[ -x "$program" ] || stop "Sonic Edge is not installed" "install.sh of the unpacked bundle, or board/setup.sh in a checkout"
python=$(dirname "$program")/python
samples=$("$python" -c 'from sonic_edge.config import share_dir; print(share_dir() / "samples")')
photo=${1:-$samples/portrait.jpg} recording=${2:-$samples/speech.flac}
measure=$home/board/first_light.py

settings() { # BACKEND BUNDLE: a file of settings for it
    cat >"$out/$1.yaml" <<END
spool: {root: "$out/spool"}
model: {backend: $1, device_id: $device, bundle: "$2"}
END
}

render() { # BACKEND
    rm -f "$out/$1.mp4" "$out/$1.json"
    "$python" "$measure" timed "$out/$1.time" "$program" render "$photo" "$recording" -o "$out/$1.mp4" \
        --config "$out/$1.yaml" --set seed=7 --report "$out/$1.json" --quiet
}

main() {
    say "Sonic Edge first light, $(date '+%Y-%m-%d %H:%M:%S'), $(uname -srm)"
    say "$program, backend $backend; everything goes to $out"

    step 1 "The driver: a table of npu-smi, with Health OK"
    timeout 30 npu-smi info 2>&1 || say "(npu-smi info failed, or did not finish within 30 s)"
    "$python" "$measure" chip "$device" >"$out/chip" || stop "the chip cannot be reached" \
        "see above what to do; docs/CHIP.md, 'When something is wrong'"
    soc=$(cat "$out/chip")
    say "as ATC calls it: $soc"

    step 2 "The software: every line ok"
    "$home/board/ascend_env.sh" ${cann:+"$cann"} >"$out/ascend.env" || stop "CANN's environment cannot be read" \
        "see above what to do"
    if [ -s "$out/ascend.env" ]; then
        set -a
        # shellcheck disable=SC1091 # made just now
        . "$out/ascend.env"
        set +a
    elif [ -z "${ASCEND_TOOLKIT_HOME:-}${ASCEND_HOME_PATH:-}" ]; then
        stop "CANN is not found" "install it as root with --install-for-all, or say where it is: --cann FOLDER"
    fi
    settings "$backend" "$bundle"
    "$program" doctor --config "$out/$backend.yaml" >"$out/doctor.txt" 2>&1 || true
    grep -E '^[a-zA-Z ]{12} (python|memory|disk|chip|chip devices|CANN):' "$out/doctor.txt" || cat "$out/doctor.txt"
    if grep -E '^FAILED +(chip|chip devices|CANN):' "$out/doctor.txt" | grep -qv 'was compiled for another chip'; then
        stop "the chip cannot be used as it is" "after -> in the lines above stands what to do"
    fi

    step 3 "The model, for $soc"
    if [ "$bundle" != sonic-net ]; then
        say "as given: $bundle"
    elif [ "$backend" = mindspore_lite ] && ! command -v atc >/dev/null; then
        say "the one that came with the product: a MindIR for any chip, in floating point, compiled at each start"
        say "(in INT8: python -m models.convert --soc $soc, where CANN's toolkit is; then here --bundle FOLDER)"
    else
        convert
    fi
    settings "$backend" "$bundle"

    step 4 "The model runs on the chip: files checked, all outputs finite"
    if ! "$program" model check "$bundle" --config "$out/$backend.yaml" 2>"$out/check.txt"; then
        cat "$out/check.txt"
        grep -q 'computes something else' "$out/check.txt" && otherwise "the model computes something else on the chip"
        stop "the model does not run on the chip" "the lines above say why; docs/CHIP.md, 'When something is wrong'" \
            "CANN's own log: ~/ascend/log, or /var/log/npu/slog"
    fi

    step 5 "The same video on the chip and on the CPU: a speaking face, in $out"
    settings cpu "$bundle"
    render "$backend" || stop "no video was made on the chip" \
        "the lines above say why; docs/CHIP.md, 'When something is wrong'"
    say "made $out/$backend.mp4"
    render cpu || stop "no video was made on the CPU, so the chip is not to blame" "sonic-edge doctor"
    say "made $out/cpu.mp4"

    step 6 "How much they differ, and seconds per second of speech"
    parity=0
    "$python" "$measure" compare "$out/cpu.mp4" "$out/$backend.mp4" || parity=1
    "$python" "$measure" speed "chip" "$out/$backend.json" "$out/$backend.time"
    "$python" "$measure" speed "CPU" "$out/cpu.json" "$out/cpu.time"
    [ "$parity" = 0 ] || otherwise "the chip's video differs from the CPU's" \
        "look at both: $out/$backend.mp4 and $out/cpu.mp4"
    printf '\nFIRST LIGHT: the model runs on the %s and gives the same result as on the CPU.\n' "$soc"
}

otherwise() { # it runs, but computes something else
    stop "$@" "compile it by another route: models/README.md, the routes qat, calibrate, lite and float" \
        "with mindspore_lite and its MindIR: model.precision = preferred_fp32"
}

convert() { # makes `bundle`, here if the tools are here
    maker=
    for one in "$python" "$home/.venv/bin/python" python3; do
        if [ -z "$maker" ] && (cd "$home" && "$one" -c 'import models.convert') >/dev/null 2>&1; then maker=$one; fi
    done
    how="on a machine with CANN's toolkit, AMCT and a checkout: python -m models.convert --soc $soc --backend $backend"
    bring="copy the folder it names to here, and: $0 --backend $backend --bundle FOLDER"
    command -v atc >/dev/null || stop "this model is not compiled for $soc, and there is no atc here" "$how" "$bring"
    [ -n "$maker" ] || stop "atc is here, but not the code that prepares the model for it (models/, onnx)" \
        "in a checkout: board/setup.sh convert" "or: $how" "$bring"
    bundle=$out/bundle-$soc route=qat
    if ! python3 -c 'import amct_onnx' >/dev/null 2>&1; then
        route=float
        say "there is no AMCT here (amct_onnx): compiled in floating point, which is slower than INT8"
    fi
    (cd "$home" && "$maker" -m models.convert --soc "$soc" --backend "$backend" --route "$route" --out "$bundle" \
        --work "$out/convert-$soc-$route") ||
        stop "the model could not be compiled" "see above which step and why; a second call continues from there" \
            "or: $how" "$bring"
}

status=$out/status
echo 1 >"$status"
{
    set +e # not in an && or ||: main would go on after an error
    (
        set -e
        main
        echo 0 >"$status"
    )
    if [ "$(cat "$status")" != 0 ] && [ -s "$out/doctor.txt" ]; then
        printf '\n---- full output of the doctor\n'
        cat "$out/doctor.txt"
    fi
    printf '\nThis output is in %s: send it to get help.\n' "$out/first-light.log"
} 2>&1 | tee "$out/first-light.log"
exit "$(cat "$status")"
