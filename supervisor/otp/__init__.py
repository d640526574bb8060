"""OTP supervision for trio: child specs, strategies, supervisors. Stands alone; see docs/otp.md."""

from __future__ import annotations

from supervisor.otp._roster import Roster as Roster
from supervisor.otp.channel import Latch as Latch
from supervisor.otp.channel import Outcome as Outcome
from supervisor.otp.current import path_of_task as path_of_task
from supervisor.otp.current import stop_request as stop_request
from supervisor.otp.dynamic import DynamicSupervisor as DynamicSupervisor
from supervisor.otp.errors import AlreadyPresent as AlreadyPresent
from supervisor.otp.errors import AlreadyStarted as AlreadyStarted
from supervisor.otp.errors import BadSpec as BadSpec
from supervisor.otp.errors import MaxChildren as MaxChildren
from supervisor.otp.errors import NotFound as NotFound
from supervisor.otp.errors import NotRunning as NotRunning
from supervisor.otp.errors import Restarting as Restarting
from supervisor.otp.errors import Running as Running
from supervisor.otp.errors import Shutdown as Shutdown
from supervisor.otp.errors import StartFailed as StartFailed
from supervisor.otp.errors import StartTimeout as StartTimeout
from supervisor.otp.errors import StopTimeout as StopTimeout
from supervisor.otp.errors import StrayCancelled as StrayCancelled
from supervisor.otp.errors import SupervisorError as SupervisorError
from supervisor.otp.errors import TooManyRestarts as TooManyRestarts
from supervisor.otp.errors import Unhealthy as Unhealthy
from supervisor.otp.errors import WouldDeadlock as WouldDeadlock
from supervisor.otp.info import ChildCounts as ChildCounts
from supervisor.otp.info import ChildInfo as ChildInfo
from supervisor.otp.intensity import Intensity as Intensity
from supervisor.otp.node import Node as Node
from supervisor.otp.node import SupervisorFacts as SupervisorFacts
from supervisor.otp.report import Report as Report
from supervisor.otp.report import ReportKind as ReportKind
from supervisor.otp.report import Subscription as Subscription
from supervisor.otp.spec import BRUTAL_KILL as BRUTAL_KILL
from supervisor.otp.spec import INFINITY as INFINITY
from supervisor.otp.spec import AutoShutdown as AutoShutdown
from supervisor.otp.spec import Backoff as Backoff
from supervisor.otp.spec import ChildSpec as ChildSpec
from supervisor.otp.spec import ChildType as ChildType
from supervisor.otp.spec import Probe as Probe
from supervisor.otp.spec import Restart as Restart
from supervisor.otp.spec import Strategy as Strategy
from supervisor.otp.spec import check_childspecs as check_childspecs
from supervisor.otp.state import State as State
from supervisor.otp.stop import StopRequest as StopRequest
from supervisor.otp.supervisor import Supervisor as Supervisor
