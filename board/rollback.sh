#!/bin/sh
# Go back to the release before, as root: its program, its units. The settings and the spool stay as they are. Again, and
# the one that was left runs again. On a box it is /opt/sonic-edge/rollback.
#
# READY_S   how long a release may take until its model has run once (default 600 s)
set -eu
me=rollback
# shellcheck source=board/release.sh
. "$(dirname "$(readlink -f "$0")")/release.sh"
[ $# = 0 ] || refuse "$1: means nothing here; nothing is to follow"
begin
target=$(readlink "$home/previous" || true)
[ -n "$target" ] || refuse "there is no release before this one on this box"
"$target/bin/sonic-edge" check-config --config /etc/sonic-edge/sonic-edge.yaml >/dev/null ||
    refuse "${target##*/} cannot use /etc/sonic-edge/sonic-edge.yaml as it is; nothing was changed"
switch_to "$target"
say "${target##*/} runs; before it: $(basename "$(readlink "$home/previous")")"
