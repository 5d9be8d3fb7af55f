#!/bin/sh
# Go back to the previous release and its units, as root. The settings and the spool stay as they are. A second call
# switches forward again. On a box this is /opt/sonic-edge/rollback.
#
# READY_S   time for a release to start and run its model once (default 600 s)
set -eu
me=rollback
# shellcheck source=board/release.sh
. "$(dirname "$(readlink -f "$0")")/release.sh"
[ $# = 0 ] || refuse "$1: unexpected argument; there are none"
begin
target=$(readlink "$home/previous" || true)
[ -n "$target" ] || refuse "there is no previous release on this box"
"$target/bin/sonic-edge" check-config --config /etc/sonic-edge/sonic-edge.yaml >/dev/null ||
    refuse "${target##*/} cannot use /etc/sonic-edge/sonic-edge.yaml as it is; nothing was changed"
switch_to "$target"
say "${target##*/} runs; previous: $(basename "$(readlink "$home/previous")")"
