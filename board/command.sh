#!/bin/sh
# The command sonic-edge for people, in the service's environment. On a box this is /usr/local/bin/sonic-edge.
if [ -r /etc/sonic-edge/ascend.env ]; then
    set -a
    # shellcheck source=/dev/null # made on the box, by install.sh
    . /etc/sonic-edge/ascend.env
    set +a
fi
exec /opt/sonic-edge/current/bin/sonic-edge "$@"
