"""Go's text/template, as far as swarm's templates need it."""

from __future__ import annotations

from services.cluster.agent.template.errors import TemplateError as TemplateError
from services.cluster.agent.template.functions import Function as Function
from services.cluster.agent.template.run import Fields as Fields
from services.cluster.agent.template.run import render as render
