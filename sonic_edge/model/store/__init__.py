"""Where model bundles are kept, and which of them is in use.

Bundles shipped with the product are in its release (``share/sonic-edge/bundles``) and are replaced with it at an
upgrade. Bundles that an operator installs are in ``model.store`` and stay. Only `sonic-edge model` changes the store,
as root; the daemon just reads it:

    my-net-1.0-0a1b2c3d/     <name>-<version>-<first 8 digits of the sha256 of bundle.yaml>; never changed
    in-use.json              {"current": "my-net-1.0-0a1b2c3d", "previous": "shipped/sonic-net"}; replaced atomically
    .part-...                an unfinished change; removed at the next one

bundle.yaml lists every file with its sha256, so the sha256 of bundle.yaml identifies the whole bundle.

`place` finds bundles, without numpy, because the daemon uses it. `check` verifies every file, `unpack` copies a bundle
from an untrusted folder or archive, `change` installs, switches and removes.
"""

from .place import Entry, find_bundle, look, pinned, remedy_for, resolve

__all__ = ["Entry", "find_bundle", "look", "pinned", "remedy_for", "resolve"]
