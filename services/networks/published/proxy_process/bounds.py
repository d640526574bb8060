"""What one port may have and do at most."""

MOST_OF_ONE = 4096  # connections or sessions of one port: none can use up what all have
AT_ONCE = 32  # connections or datagrams of one port before it is the others' turn
