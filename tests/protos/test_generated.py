"""The generated code in the repository is what the .proto files say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.protos.descriptors import PROTOS, needs_protoc

SCRIPT = PROTOS.parent / "scripts" / "gen-protos"


def modules(package: Path) -> dict[str, str]:
    """Every file of a generated package, by its path in it."""
    return {str(file.relative_to(package)): file.read_text() for file in package.rglob("*.py")}


@needs_protoc
def test_committed_code_is_what_the_protos_generate(tmp_path: Path) -> None:
    """scripts/gen-protos changes nothing."""
    out = tmp_path / "generated"
    subprocess.run([sys.executable, str(SCRIPT), "--out", str(out)], check=True)
    assert modules(PROTOS / "generated") == modules(out)


def test_importing_needs_no_protobuf_library() -> None:
    """The daemon answers soon after its start: what it imports stays small."""
    code = (
        "import sys, services.containerd.facade, services.containerd.process\n"
        "heavy = {'google', 'grpc', 'betterproto2_compiler'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
