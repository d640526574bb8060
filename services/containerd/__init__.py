"""containerd: our own process, the connection to it, and a client for each service in use.

Nothing of gRPC, protobuf or asyncio leaves this package.
"""

from .events import EventEnvelope as EventEnvelope
from .events import TaskOOMEvent as TaskOOMEvent
from .facade import Containerd as Containerd
from .process import Process as Process
from .process_config import ProcessConfig as ProcessConfig
from .values import ContainerRecord as ContainerRecord
from .values import Descriptor as Descriptor
from .values import Mount as Mount
from .values import RuncOptions as RuncOptions
from .values import TaskExit as TaskExit
from .values import TaskInfo as TaskInfo
from .values import TaskStatus as TaskStatus
