# Sourced by install.sh and rollback.sh: which release runs, and that one does. Each release has a folder of its own and
# carries what is put elsewhere for it; `current` is changed in one step, and the release before stays:
#
#   /opt/sonic-edge/releases/<version>-<hash>/   a virtual environment; in its share/sonic-edge what is not Python
#   /opt/sonic-edge/current, previous            links to two of them
#   /opt/sonic-edge/rollback, uninstall          links into current
#   /usr/local/bin/sonic-edge                    the same, for people: with CANN's environment, as the service has it
#   /usr/local/share/...                         links to the manual page, and to what bash and zsh complete: told_of
#   /etc/sonic-edge/ascend.env                   CANN's environment, where it is installed
#   /etc/systemd/system, /etc/sysusers.d, /etc/tmpfiles.d, /etc/udev/rules.d    what systemd/ of the release holds
#
# shellcheck shell=sh
home=/opt/sonic-edge
share=share/sonic-edge
unit=sonic-edge.service
ready_s=${READY_S:-600} # how long a release may take until its model has run once

say() { echo "$me: $*"; }
warn() { echo "$me: $*" >&2; }
refuse() {
    warn "$*"
    exit 1
}

begin() { # as root, alone, and leaving nothing half done
    umask 022
    unset PYTHONPATH PYTHONHOME
    [ "$(id -u)" = 0 ] || refuse "must be run as root"
    for program in systemctl systemd-sysusers systemd-tmpfiles flock; do
        command -v "$program" >/dev/null || refuse "$program: not here; a system with systemd is needed"
    done
    scratch=$(mktemp -d) switching='' half=''
    trap at_end EXIT
    trap '' HUP # a terminal that goes away stops nothing
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir -p "$home/releases"
    exec 9>"$home/.lock"
    flock -n 9 || refuse "another installation is running"
}

point() { # LINK TARGET: whoever looks finds the old one or the new one
    ln -sfn "$2" "${1%/*}/.${1##*/}.new"
    mv -T "${1%/*}/.${1##*/}.new" "$1"
}

placed() { # FILE OF systemd/: where it goes
    case $1 in
    */ascend.conf) echo "/etc/systemd/system/$unit.d/ascend.conf" ;;
    *sysusers*.conf) echo "/etc/sysusers.d/${1##*/}" | sed 's/\.sysusers\.conf/.conf/' ;;
    *tmpfiles*.conf) echo "/etc/tmpfiles.d/${1##*/}" | sed 's/\.tmpfiles\.conf/.conf/' ;;
    *.rules) echo "/etc/udev/rules.d/${1##*/}" ;;
    *) echo "/etc/systemd/system/${1##*/}" ;;
    esac
}

# what a shell and `man` know of the command, below share of a release and of /usr/local
told_of="man/man1/sonic-edge.1 bash-completion/completions/sonic-edge zsh/site-functions/_sonic-edge"

wanted() { # RELEASE: those of its files that this box needs
    for file in "$1/$share/systemd"/*; do
        case $file in
        # the driver of an Ascend chip makes this group
        */ascend.conf) if getent group HwHiAiUser >/dev/null; then echo "$file"; fi ;;
        *) echo "$file" ;;
        esac
    done
}

activate() { # RELEASE: everything on this box is that release's, from the next start on
    wanted "$1" >"$scratch/wanted"
    # first all that takes time; what a power cut can leave half done is then a few renames
    while read -r file; do
        target=$(placed "$file")
        mkdir -p "${target%/*}"
        install -m 644 "$file" "${target%/*}/.${target##*/}.new"
    done <"$scratch/wanted"
    sync -f /etc
    while read -r file; do
        target=$(placed "$file")
        mv "${target%/*}/.${target##*/}.new" "$target"
    done <"$scratch/wanted"
    point "$home/current" "$1"
    # what only another release had
    for folder in "$home"/releases/*/"$share/systemd"; do
        for file in "$folder"/*; do
            target=$(placed "$file")
            [ -e "$1/$share/systemd/${file##*/}" ] || [ ! -e "$target" ] || forget "$target"
        done
    done
    if [ -n "$ascend" ]; then
        printf '%s\n' "$ascend" >/etc/sonic-edge/.ascend.env.new
        mv /etc/sonic-edge/.ascend.env.new /etc/sonic-edge/ascend.env
    else
        rm -f /etc/sonic-edge/ascend.env
    fi
    point "$home/rollback" "current/$share/board/rollback.sh"
    point "$home/uninstall" "current/$share/board/uninstall.sh"
    mkdir -p /usr/local/bin
    point /usr/local/bin/sonic-edge "$home/current/$share/board/command.sh"
    for file in $told_of; do
        target=/usr/local/share/$file
        if [ -e "$1/share/$file" ]; then
            mkdir -p "${target%/*}"
            point "$target" "$home/current/share/$file"
        else
            rm -f "$target" # older releases have none
        fi
    done
    systemd-sysusers /etc/sysusers.d/sonic-edge.conf
    systemd-tmpfiles --create /etc/tmpfiles.d/sonic-edge.conf # after the users
    systemctl --quiet enable "$unit"
    sync -f /etc
    sync -f "$home"
}

forget() { # FILE that belonged to a release
    case $1 in *.rules | *.conf) ;; *) systemctl --quiet disable "${1##*/}" 2>/dev/null || true ;; esac
    rm -f "$1"
}

runs_systemd() { [ -d /run/systemd/system ]; }

start() { # Start what is current; fails unless its model has run once in time. A job under way is parked.
    runs_systemd || return 0
    systemctl daemon-reload
    if systemctl --quiet is-active systemd-udevd.service; then udevadm control --reload; fi
    systemctl reset-failed "$unit" 2>/dev/null || true
    systemctl restart --no-block "$unit" || return 1
    waited_s=0
    while [ -n "$(systemctl show --value --property=Job "$unit" | sed 's/^0$//')" ]; do
        [ "$waited_s" -lt "$ready_s" ] || return 1
        sleep 1
        waited_s=$((waited_s + 1))
    done
    systemctl --quiet is-active "$unit"
}

last_words() { # SINCE: of the service
    journalctl --sync || true
    # not --lines: with --since it shows the first ones
    journalctl --quiet --no-pager --output=cat --unit="$unit" --since="@$1" | tail -n 15 | sed 's/^/    /' >&2
}

switch_to() { # RELEASE: from here on it runs; if that fails at any point, the one that ran before does again
    new=$1
    old=$(readlink "$home/current" || true)
    before=$(readlink "$home/previous" || true)
    [ -e "$old/.ran" ] || old='' # a release that never ran is none to go back to
    began=$(date +%s)
    if ! ascend=$(sh "$new/$share/board/ascend_env.sh"); then # a box that runs without the chip does not need it
        warn "CANN's environment cannot be had: it stays as it was"
        ascend=$(cat /etc/sonic-edge/ascend.env 2>/dev/null || true)
    fi
    switching=yes
    if [ -n "$old" ] && [ "$old" != "$new" ]; then point "$home/previous" "$old"; fi
    activate "$new"
    if runs_systemd; then say "starting ${new##*/}, and waiting until its model has run once"; fi
    if ! start; then
        warn "${new##*/} does not start; its last words:"
        last_words "$began"
        exit 1
    fi
    touch "$new/.ran"
    sync -f "$home"
    switching=
}

go_back() {
    if [ -z "$old" ] || [ "$old" = "$new" ]; then
        if runs_systemd; then systemctl stop "$unit"; fi
        systemctl --quiet disable "$unit"
        warn "there is none before it to go back to: the service is stopped, and will not start with the box."
        warn "Perhaps \`sonic-edge doctor --config /etc/sonic-edge/sonic-edge.yaml\` says why; then install again"
        return
    fi
    warn "going back to ${old##*/}"
    activate "$old"
    if [ -n "$before" ] && [ "$before" != "$old" ]; then point "$home/previous" "$before"
    else rm -f "$home/previous"; fi
    began=$(date +%s)
    if start; then
        warn "${old##*/} runs, as before"
    else
        warn "${old##*/} does not start either; the service goes on trying. Its last words:"
        last_words "$began"
    fi
}

at_end() { # however it ends
    status=$?
    trap '' HUP INT TERM
    trap - EXIT
    set +e
    [ -z "$switching" ] || go_back
    [ -z "$half" ] || rm -rf "$half"
    rm -rf "$scratch"
    exit "$status"
}

tidy() { # only these two stay
    for folder in "$home"/releases/*/; do
        folder=${folder%/}
        [ "$folder" = "$(readlink "$home/current")" ] || [ "$folder" = "$(readlink "$home/previous" || true)" ] ||
            rm -rf "$folder"
    done
}
