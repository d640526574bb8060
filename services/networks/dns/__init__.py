"""The embedded DNS: names of containers, asked at 127.0.0.11 within their namespaces."""

from services.networks.dns.names import NameBook as NameBook
from services.networks.dns.names import NamedEndpoint as NamedEndpoint
from services.networks.dns.redirect import SERVER as SERVER
from services.networks.dns.server import Dns as Dns
from services.networks.dns.upstream import Resolver as Resolver
