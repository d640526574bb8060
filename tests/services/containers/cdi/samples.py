"""CDI files and the OCI spec that their edits go into."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KIND = "vendor.com/class"


def document(*names: str, version: str = "0.8.0", **members: Any) -> dict[str, Any]:
    """A file with these devices; each sets a variable of its name."""
    return {
        "cdiVersion": version,
        "kind": KIND,
        "devices": [
            {"name": name, "containerEdits": {"env": [f"{name.upper()}=1"]}}
            for name in names or ("dev0",)
        ],
        **members,
    }


def with_edits(version: str = "1.1.0", **edits: Any) -> dict[str, Any]:
    """A file with one device, "dev0", that has these edits."""
    return document(version=version, devices=[{"name": "dev0", "containerEdits": edits}])


def write(folder: Path, name: str, content: dict[str, Any] | str) -> Path:
    """Make a file of CDI's."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def oci_spec(**process: Any) -> dict[str, Any]:
    """As much of a spec as edits touch."""
    return {
        "process": {"env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, **process},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": []},
            {"destination": "/data", "type": "bind", "source": "/old", "options": ["rbind"]},
        ],
        "linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]}},
    }
