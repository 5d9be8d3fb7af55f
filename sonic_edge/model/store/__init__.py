"""Where model bundles are kept, and which of them is in use.

Those that come with the product lie in its release (``share/sonic-edge/bundles``) and go with it at an upgrade. What an
operator installs lies in ``model.store`` and stays. Only `sonic-edge model` changes anything there, as root; the daemon
reads:

    my-net-1.0-0a1b2c3d/     <name>-<version>-<first 8 of the sha256 of bundle.yaml>; never changed once it is there
    in-use.json              {"current": "my-net-1.0-0a1b2c3d", "previous": "shipped/sonic-net"}; replaced in one step
    .part-...                half of something; taken away at the next change

bundle.yaml names every file with its sha256, so that its own tells one bundle from any other.

`place` finds, without numpy: the daemon uses it. `check` looks at every file, `unpack` takes a bundle out of a folder
or an archive that a stranger may have made, `change` installs, switches and removes.
"""

from .place import Entry, find_bundle, look, pinned, resolve, way_back

__all__ = ["Entry", "find_bundle", "look", "pinned", "resolve", "way_back"]
