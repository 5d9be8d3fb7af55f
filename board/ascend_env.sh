#!/bin/sh
# Print the environment that CANN, the chip's software, needs: what its set_env.sh adds, as lines of a systemd
# EnvironmentFile (see systemd.exec(5)) that a shell can read too. Without CANN it prints nothing and succeeds.
#
#   board/ascend_env.sh [PLACE] >/etc/sonic-edge/ascend.env
#
#   PLACE    a set_env.sh or its folder; default: ASCEND_HOME, else the places where CANN's installers put it
#
# Places: "Environment Variable Configuration" of CANN 8.0 (hiascend.com, appdevg/aclpythondevg_02_0004): toolkit, nnae
# or nnrt below /usr/local/Ascend or $HOME/Ascend, /opt/ascend on an Atlas 500. Since CANN 8.5 /usr/local/Ascend/cann*.
# Atlas 200 DK: in the home of HwHiAiUser (Atlas200DKDeveloperKit 1.0.13, atlased_04_0017). NOT RUN with a real CANN.
set -eu

say() { echo "ascend_env: $*" >&2; }

first_of() { # FILE ...: the first that exists
    for file; do
        if [ -f "$file" ]; then
            echo "$file"
            return
        fi
    done
}

below() { # FOLDER: where Ascend's installers put their packages
    newest=$(find "$1" -maxdepth 1 -name 'cann-[0-9]*' 2>/dev/null | sort -rV | head -n 1)
    first_of "$1/ascend-toolkit/set_env.sh" "$1/ascend-toolkit/latest/set_env.sh" "$1/cann/set_env.sh" \
        "$newest/set_env.sh" "$1/nnae/set_env.sh" "$1/nnrt/set_env.sh"
}

place=${1:-${ASCEND_HOME:-}}
if [ -n "$place" ]; then
    case $place in */set_env.sh) found=$(first_of "$place") ;; *)
        found=$(first_of "$place/set_env.sh")
        [ -n "$found" ] || found=$(below "$place") ;;
    esac
    if [ -z "$found" ]; then
        say "$place: there is no set_env.sh, neither in it nor in its ascend-toolkit, cann, nnae or nnrt"
        exit 1
    fi
else
    for folder in /usr/local/Ascend /opt/ascend "${HOME:-/root}/Ascend" /home/HwHiAiUser/Ascend; do
        found=$(below "$folder")
        [ -z "$found" ] || break
    done
    [ -n "$found" ] || exit 0
fi
found=$(realpath "$found")
case $found in
/home/HwHiAiUser/Ascend/*) ;; # ascend.conf shows it to the service
/home/* | /root/*) say "$found: the service sees no home; install CANN as root, with --install-for-all" ;;
esac
command -v bash >/dev/null || {
    say "$found needs bash, which is missing: apt install bash"
    exit 1
}
say "reading $found"
as= # root runs no file that somebody else may change
owner=$(stat -c %u "$found")
if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
    as="setpriv --reuid=$owner --regid=$(stat -c %g "$found") --clear-groups"
fi

# In a clean environment, so that nothing of this shell gets into the service; not under set -u, with which these files
# fail; with a deadline; and printed by an exit trap, in case the file ends the shell.
# Empty entries are left out of paths: the loader would take one as the working directory.
# shellcheck disable=SC2016,SC2086 # bash expands it; each is a word
lines=$(env -i HOME=/nonexistent PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    timeout 30 $as bash --noprofile --norc -c '
ours=/opt/sonic-edge/current/bin
tell() {
    local kept= part name value
    for part in /usr/local/Ascend/driver/lib64 /usr/local/Ascend/driver/lib64/common \
        /usr/local/Ascend/driver/lib64/driver; do
        case ":${LD_LIBRARY_PATH-}:" in *":$part:"* | *":$part/:"*) continue ;; esac
        if [ -d "$part" ]; then LD_LIBRARY_PATH=${LD_LIBRARY_PATH-}:$part; fi
    done
    export LD_LIBRARY_PATH PATH=$ours:$PATH
    for name in $(compgen -e); do
        case $name in
        PATH | LD_LIBRARY_PATH | PYTHONPATH | ASCEND_* | TOOLCHAIN_HOME) ;;
        *) continue ;;
        esac
        value=${!name}
        case $name in *PATH)
            kept=
            while IFS= read -r -d : part; do
                case :$kept: in *":$part:"*) continue ;; esac
                if [ -n "$part" ]; then kept=$kept${kept:+:}$part; fi
            done <<<"$value:"
            value=$kept ;;
        esac
        case $value in "" | *[[:cntrl:]]*) continue ;; esac
        value=${value//\\/\\\\} value=${value//\"/\\\"} value=${value//\$/\\\$} value=${value//\`/\\\`}
        printf "%s=\"%s\"\n" "$name" "$value" >&3
    done
    exit 0
}
exec 3>&1 >/dev/null 2>&1 </dev/null
trap tell EXIT
source "$1"
' set_env "$found") || {
    say "$found did not finish within 30 s"
    exit 1
}
case $lines in *LD_LIBRARY_PATH=*) ;; *)
    say "$found names no libraries (LD_LIBRARY_PATH): is this installation complete?"
    exit 1 ;;
esac
printf '%s\n' "$lines"
