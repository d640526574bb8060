"""containerd: our own process, the connection to it, and a client for each service in use.

Nothing of gRPC, protobuf or asyncio leaves this package.
"""

from .facade import Containerd as Containerd
from .process import Process as Process
from .values import ContainerRecord as ContainerRecord
from .values import Descriptor as Descriptor
from .values import Mount as Mount
from .values import RuncOptions as RuncOptions
from .values import TaskExit as TaskExit
from .values import TaskInfo as TaskInfo
from .values import TaskStatus as TaskStatus
