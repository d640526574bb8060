"""The one nftables table that is ours: the way out of the default bridge.

The whole table is replaced in one transaction; no other tool's rules are read or touched.
"""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Network
from typing import Final

import trio

from services.errors import EngineError

COMMAND_LIMIT_S: Final = 10.0

_RULES: Final = """\
add table ip {table}
delete table ip {table}
table ip {table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    {masquerade}
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifname "{bridge}" ct state established,related accept
    iifname "{bridge}" accept
    oifname "{bridge}" drop
  }}
}}
"""


async def install_table(table: str, *, bridge: str, subnet: IPv4Network, masquerade: bool) -> None:
    """Replace our table: containers get out under the host's address, nothing from outside gets in.

    Raises:
        EngineError: nft refused, is missing or did not answer in time.
    """
    rule = f'ip saddr {subnet} oifname != "{bridge}" masquerade' if masquerade else ""
    await _nft(_RULES.format(table=table, bridge=bridge, masquerade=rule))


async def _nft(script: str) -> None:
    try:
        with trio.fail_after(COMMAND_LIMIT_S):
            done = await trio.run_process(
                ["nft", "-f", "-"],
                stdin=script.encode(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    except FileNotFoundError:
        raise EngineError("nft is not installed: the bridge network needs nftables") from None
    except trio.TooSlowError:
        raise EngineError(f"nft did not answer within {COMMAND_LIMIT_S:.0f} s") from None
    if done.returncode != 0:
        raise EngineError(f"nft refused our rules: {_first_line(done)}")


def _first_line(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode(errors="replace").strip().partition("\n")[0]
