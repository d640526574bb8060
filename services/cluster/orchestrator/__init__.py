"""What a leader decides: which tasks there are, and what they shall do.

Everything here is a function of a snapshot and the time; `rules.leader_rules` has all of it.
"""
