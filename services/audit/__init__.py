"""The audit: what the engine means there to be, compared with what the machine has."""

from services.audit.audit import Audit as Audit
from services.audit.audit import AuditReport as AuditReport
from services.audit.audit import Checked as Checked
from services.audit.findings import Check as Check
from services.audit.findings import Finding as Finding
