# Sourced by install.sh and rollback.sh: switches between releases and checks that the new one runs. Each release has
# its own folder with everything it installs elsewhere; `current` changes in one step, and the previous one stays:
#
#   /opt/sonic-edge/releases/<version>-<hash>/   a virtual environment; in its share/sonic-edge what is not Python
#   /opt/sonic-edge/current, previous            links to two of them
#   /opt/sonic-edge/rollback, uninstall          links into current
#   /usr/local/bin/sonic-edge                    the command for people, with CANN's environment like the service
#   /usr/local/share/...                         links to the manual page and the shell completions: shell_files
#   /etc/sonic-edge/ascend.env                   CANN's environment, where it is installed
#   /etc/systemd/system, /etc/sysusers.d, /etc/tmpfiles.d, /etc/udev/rules.d    what systemd/ of the release contains
#
# shellcheck shell=sh
home=/opt/sonic-edge
share=share/sonic-edge
unit=sonic-edge.service
ready_s=${READY_S:-600} # time for a release to start and run its model once

say() { echo "$me: $*"; }
warn() { echo "$me: $*" >&2; }
refuse() {
    warn "$*"
    exit 1
}

begin() { # as root, one at a time, cleaning up at exit
    umask 022
    unset PYTHONPATH PYTHONHOME
    [ "$(id -u)" = 0 ] || refuse "must be run as root"
    for program in systemctl systemd-sysusers systemd-tmpfiles flock; do
        command -v "$program" >/dev/null || refuse "$program: missing; a system with systemd is needed"
    done
    scratch=$(mktemp -d) switching='' half=''
    trap at_end EXIT
    trap '' HUP # losing the terminal stops nothing
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir -p "$home/releases"
    exec 9>"$home/.lock"
    flock -n 9 || refuse "another installation is running"
}

point() { # LINK TARGET: atomically; a reader sees the old target or the new one
    ln -sfn "$2" "${1%/*}/.${1##*/}.new"
    mv -T "${1%/*}/.${1##*/}.new" "$1"
}

placed() { # FILE OF systemd/: where it is installed
    case $1 in
    */ascend.conf) echo "/etc/systemd/system/$unit.d/ascend.conf" ;;
    *sysusers*.conf) echo "/etc/sysusers.d/${1##*/}" | sed 's/\.sysusers\.conf/.conf/' ;;
    *tmpfiles*.conf) echo "/etc/tmpfiles.d/${1##*/}" | sed 's/\.tmpfiles\.conf/.conf/' ;;
    *.rules) echo "/etc/udev/rules.d/${1##*/}" ;;
    *) echo "/etc/systemd/system/${1##*/}" ;;
    esac
}

# the manual page and the shell completions, below share of a release and of /usr/local
shell_files="man/man1/sonic-edge.1 bash-completion/completions/sonic-edge zsh/site-functions/_sonic-edge"

wanted() { # RELEASE: those of its systemd files that this box needs
    for file in "$1/$share/systemd"/*; do
        case $file in
        # the driver of an Ascend chip creates this group
        */ascend.conf) if getent group HwHiAiUser >/dev/null; then echo "$file"; fi ;;
        *) echo "$file" ;;
        esac
    done
}

activate() { # RELEASE: install its files; takes effect at the next start
    wanted "$1" >"$scratch/wanted"
    # slow steps first, so that a power cut can only interrupt a few renames
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
    # files that only other releases have
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
    for file in $shell_files; do
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

start() { # Start the current release; fails unless its model runs once in time. A job in progress is put back.
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

last_words() { # SINCE: the last log lines of the service
    journalctl --sync || true
    # not --lines: with --since it shows the first ones
    journalctl --quiet --no-pager --output=cat --unit="$unit" --since="@$1" | tail -n 15 | sed 's/^/    /' >&2
}

switch_to() { # RELEASE: run it; if anything fails, run the previous one again
    new=$1
    old=$(readlink "$home/current" || true)
    before=$(readlink "$home/previous" || true)
    [ -e "$old/.ran" ] || old='' # no going back to a release that never ran
    began=$(date +%s)
    if ! ascend=$(sh "$new/$share/board/ascend_env.sh"); then # not needed on a box that runs without the chip
        warn "CANN's environment cannot be read: it stays as it was"
        ascend=$(cat /etc/sonic-edge/ascend.env 2>/dev/null || true)
    fi
    switching=yes
    if [ -n "$old" ] && [ "$old" != "$new" ]; then point "$home/previous" "$old"; fi
    activate "$new"
    if runs_systemd; then say "starting ${new##*/}, and waiting until its model has run once"; fi
    if ! start; then
        warn "${new##*/} does not start; its last log lines:"
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
        warn "there is no previous release to go back to: the service is stopped, and will not start with the box."
        warn "\`sonic-edge doctor --config /etc/sonic-edge/sonic-edge.yaml\` may say why; then install again"
        return
    fi
    warn "going back to ${old##*/}"
    activate "$old"
    if [ -n "$before" ] && [ "$before" != "$old" ]; then point "$home/previous" "$before"
    else rm -f "$home/previous"; fi
    began=$(date +%s)
    if start; then
        warn "${old##*/} runs again"
    else
        warn "${old##*/} does not start either; the service keeps trying. Its last log lines:"
        last_words "$began"
    fi
}

at_end() { # on every exit
    status=$?
    trap '' HUP INT TERM
    trap - EXIT
    set +e
    [ -z "$switching" ] || go_back
    [ -z "$half" ] || rm -rf "$half"
    rm -rf "$scratch"
    exit "$status"
}

tidy() { # keep only current and previous
    for folder in "$home"/releases/*/; do
        folder=${folder%/}
        [ "$folder" = "$(readlink "$home/current")" ] || [ "$folder" = "$(readlink "$home/previous" || true)" ] ||
            rm -rf "$folder"
    done
}
