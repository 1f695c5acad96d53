"""The internet on loopback: every host that the sources live on, played by a proxy out of one folder.

Clients reach it by the usual proxy variables and ask for the real addresses. It speaks what the real hosts speak as
far as a client of theirs can tell, and goes wrong on demand (`Fault`); the demo and the tests use the same one.
"""

from cvl.demo.internet.exchange import Exchange
from cvl.demo.internet.faults import Fault, FaultKind
from cvl.demo.internet.server import Internet

__all__ = ["Exchange", "Fault", "FaultKind", "Internet"]
