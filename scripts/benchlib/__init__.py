"""What `scripts/bench` is made of: engines to start, lines to measure, a table to print.

A line is one comparison. Its contenders take turns, round after round, so that what the machine
does meanwhile hits all of them; what is compared are the medians.
"""
