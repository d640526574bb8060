"""The exit codes and texts of a start that fails, by what runc says."""

from __future__ import annotations

import pytest

from services.containers.runs.start_errors import (
    exit_code_of_failed_start,
    is_users_mistake,
    start_error,
    text_of_failed_start,
)
from services.errors import EngineError, InvalidParameter

RUNC = "failed to create shim task: OCI runtime create failed: runc create failed: "
START = RUNC + "unable to start container process: "


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (START + 'exec: "nope": executable file not found in $PATH: unknown', 127),
        (START + 'exec: "/nope": stat /nope: no such file or directory: unknown', 127),
        (START + 'exec: "/etc/passwd": permission denied: unknown', 126),
        (START + 'exec: "/etc": is a directory: unknown', 126),
        (START + "error during container init: Permission Denied", 126),
        (RUNC + "cgroups: cannot enter cgroupv2", 128),
        ("", 128),
    ],
)
def test_codes(message: str, code: int) -> None:
    """127 for what is not there, 126 for what cannot be run, 128 for the rest."""
    assert exit_code_of_failed_start(message) == code
    assert is_users_mistake(message) is (code != 128)


def test_texts() -> None:
    """Clients look for the runtime's words: they go through whole."""
    assert text_of_failed_start("x", "task") == "failed to create task for container: x"
    exec_text = "rpc error: OCI runtime exec failed: exec failed: y"
    assert text_of_failed_start(exec_text, "exec") == "OCI runtime exec failed: exec failed: y"
    assert text_of_failed_start("other", "exec") == "other"


def test_a_file_over_a_directory_is_explained() -> None:
    """dockerd's hint, and 400: the kernel's words alone do not tell what was mounted where."""
    message = START + 'error mounting "/f" to rootfs at "/etc": mount /f:/etc: not a directory'
    error = start_error(EngineError(message))
    assert isinstance(error, InvalidParameter)
    hint = "Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified"
    assert f"not a directory: {hint} host path exists" in str(error)
    assert hint not in str(start_error(EngineError(START + "permission denied")))
