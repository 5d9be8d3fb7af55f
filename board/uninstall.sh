#!/bin/sh
# Remove Sonic Edge from this box, as root. Kept: the settings, the spool with its videos, your own models, the user.
# Safe to run again. On a box this is /opt/sonic-edge/uninstall.
#
#   uninstall.sh [--purge]
#
#   --purge   remove these too
set -eu
me=uninstall
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=board/release.sh
. "$here/release.sh"
settings=/etc/sonic-edge spool=/var/spool/sonic-edge models=/var/lib/sonic-edge drop_ins=/etc/systemd/system/$unit.d
purge=
case $#:${1:-} in
0:) ;;
1:--purge) purge=yes ;;
*) refuse "$*: unexpected argument; only --purge is allowed" ;;
esac
begin

if runs_systemd; then
    systemctl stop 'sonic-edge*' # also a running USB import
fi
for file in "$here"/../systemd/* "$home"/releases/*/"$share"/systemd/*; do
    if [ -e "$file" ]; then forget "$(placed "$file")"; fi
done
rm -f /etc/sonic-edge/ascend.env /usr/local/bin/sonic-edge
for file in $shell_files; do rm -f "/usr/local/share/$file"; done
rmdir "$drop_ins" 2>/dev/null || true # an integrator's own drop-ins stay
if runs_systemd; then
    systemctl daemon-reload
    systemctl reset-failed 'sonic-edge*' 2>/dev/null || true
    if systemctl --quiet is-active systemd-udevd.service; then udevadm control --reload; fi
fi
rm -rf "$home"

if [ -n "$purge" ]; then
    rm -rf "$settings" "$spool" "$models" "$drop_ins"
    if getent passwd sonic-edge >/dev/null; then userdel sonic-edge; fi
    if getent group sonic-edge >/dev/null; then groupdel sonic-edge; fi
    say "removed: the program, and settings, spool, models and user"
else
    for place in "$settings" "$spool" "$models" "$drop_ins"; do
        if [ -e "$place" ]; then say "kept: $place"; fi
    done
    if getent passwd sonic-edge >/dev/null; then say "kept: user and group sonic-edge, which own these files"; fi
    say "removed: the program; --purge removes what was kept too"
fi
say "Debian packages that came with it stay: others may use them"
