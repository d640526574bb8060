"""Whether anybody still begins connections to a container: nft counts them inside. Pure.

What a container's own processes send each other through `lo` (health checks) does not count.
"""

from __future__ import annotations

import re
from typing import Final

_TABLE: Final = "wharfinger-arrivals"
_PACKETS: Final = re.compile(r"\bpackets (\d+)")

BEGIN: Final = f"""\
add table inet {_TABLE}
delete table inet {_TABLE}
table inet {_TABLE} {{
  counter arrived {{ }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != "lo" ct state new counter name arrived
  }}
}}
"""
"""Count from now on. The table goes with the container's namespace."""

ASK: Final = f"list counter inet {_TABLE} arrived\n"


def arrived(listing: str) -> int:
    """How many have come, of what nft answers to ASK; 0 if it says nothing of that."""
    found = _PACKETS.search(listing)
    return int(found[1]) if found else 0
