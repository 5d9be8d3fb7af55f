"""Torture: every promise of the spool under kills, power cuts, bad disks, wrong clocks, junk and broken files; and the
tests themselves on a slow machine.

``python -m tests.torture`` runs all parts; each is a module here with a ``run`` and can be run alone. `box` starts a
daemon on a spool, `jobs` makes jobs and looks where they ended, `watch` checks all the time for what should never be
visible.
"""
