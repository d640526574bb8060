"""Who leads, and what only the leader does: rules that are asked whenever something changes."""

from __future__ import annotations

from .election import Election as Election
from .rule_loop import Rule as Rule
from .rule_loop import RuleLoop as RuleLoop
