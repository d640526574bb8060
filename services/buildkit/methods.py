"""The calls that an engine makes of a client's session.

Source: BuildKit, session/{filesync,auth,secrets,sshforward,upload}.
"""

from __future__ import annotations

from typing import Final

from grpclib.const import Cardinality

from protos.generated.fsutil.types import Packet
from protos.generated.moby.buildkit.secrets.v1 import GetSecretRequest, GetSecretResponse
from protos.generated.moby.filesync.v1 import (
    CredentialsRequest,
    CredentialsResponse,
)
from protos.generated.moby.sshforward.v1 import (
    BytesMessage as SshBytes,
)
from protos.generated.moby.sshforward.v1 import (
    CheckAgentRequest,
    CheckAgentResponse,
)
from protos.generated.moby.upload.v1 import BytesMessage as UploadBytes
from services.grpc.method import NO_LIMIT_S, Method

CLIENT: Final = "the client"
SILENCE_LIMIT_S: Final = 120.0
"""How long a client may take for half a megabyte of a transfer: it may have much to look at."""

CALL_LIMIT_S: Final = 60.0  # a helper for credentials may ask somebody
MESSAGE_LIMIT_BYTES: Final = 16 << 20
SECRET_LIMIT_BYTES: Final = 1 << 20  # BuildKit's is half of that

FILE_SYNC: Final = Method(
    service="moby.filesync.v1.FileSync",
    name="DiffCopy",
    request=Packet,
    reply=Packet,
    cardinality=Cardinality.STREAM_STREAM,
    limit_s=SILENCE_LIMIT_S,
    peer=CLIENT,
    reply_limit_bytes=MESSAGE_LIMIT_BYTES,
)
CREDENTIALS: Final = Method(
    service="moby.filesync.v1.Auth",
    name="Credentials",
    request=CredentialsRequest,
    reply=CredentialsResponse,
    limit_s=CALL_LIMIT_S,
    peer=CLIENT,
    reply_limit_bytes=SECRET_LIMIT_BYTES,
)
GET_SECRET: Final = Method(
    service="moby.buildkit.secrets.v1.Secrets",
    name="GetSecret",
    request=GetSecretRequest,
    reply=GetSecretResponse,
    limit_s=CALL_LIMIT_S,
    peer=CLIENT,
    reply_limit_bytes=SECRET_LIMIT_BYTES,
)
CHECK_AGENT: Final = Method(
    service="moby.sshforward.v1.SSH",
    name="CheckAgent",
    request=CheckAgentRequest,
    reply=CheckAgentResponse,
    limit_s=CALL_LIMIT_S,
    peer=CLIENT,
    reply_limit_bytes=SECRET_LIMIT_BYTES,
)
FORWARD_AGENT: Final = Method(
    service="moby.sshforward.v1.SSH",
    name="ForwardAgent",
    request=SshBytes,
    reply=SshBytes,
    cardinality=Cardinality.STREAM_STREAM,
    limit_s=NO_LIMIT_S,  # an agent answers when it is asked
    peer=CLIENT,
    reply_limit_bytes=SECRET_LIMIT_BYTES,
)
UPLOAD: Final = Method(
    service="moby.upload.v1.Upload",
    name="Pull",
    request=UploadBytes,
    reply=UploadBytes,
    cardinality=Cardinality.STREAM_STREAM,
    limit_s=SILENCE_LIMIT_S,
    peer=CLIENT,
    reply_limit_bytes=MESSAGE_LIMIT_BYTES,
)
