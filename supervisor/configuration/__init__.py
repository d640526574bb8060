"""Flags and daemon.json, what they decide, and what of it is in force.

`options` is the table of all that can be said, `values` what each can be. `flags` and `file` read
them, `merged` puts both together, `loading` and the `sections` check that and make `Settings` of
it, and `in_force` holds these and what was made of them.
"""
