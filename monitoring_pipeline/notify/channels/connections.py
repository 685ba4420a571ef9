"""Connections to configured addresses: no redirect is followed, and none leads to what only machines may talk to.

Clouds answer with credentials on link-local addresses. A name can lead there whatever it looks like, and lead elsewhere
a moment later: so it is the connection itself that is looked at, before anything is sent on it. Add here what holds for
all that is sent over HTTP. Keep which addresses may be configured out: `http.not_safe` says that.
"""

import errno
import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.request import (
    BaseHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is, however it is written: 169.254.169.254 is 2852039166 too; None for a name."""
    with suppress(ValueError):
        found = ip_address(host.partition("%")[0])
        return (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found
    with suppress(OSError):
        return IPv4Address(socket.inet_aton(host))
    return None


def never_asked(host: str) -> bool:
    """Return whether a host is an address that no service of anybody has: link-local, multicast or none at all."""
    found = address_of(host)
    return found is not None and (found.is_link_local or found.is_multicast or found.is_unspecified)


class _Looked:
    """A connection that is closed again where it leads to an address that is never asked."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # of the connection this is mixed into
        if never_asked(str(self.sock.getpeername()[0])):
            self.sock.close()
            raise OSError(errno.EADDRNOTAVAIL, "its name leads to a link-local address, where no service is")


class _Http(_Looked, HTTPConnection):
    pass


class _Https(_Looked, HTTPSConnection):
    pass


class _HttpHandler(HTTPHandler):
    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_Http, request)


class _HttpsHandler(HTTPSHandler):
    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_Https, request)


class _AnyAnswer(HTTPErrorProcessor):
    """Every answer is handed back as it is."""

    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:
        return response

    https_response = http_response


def opener(*, raises: bool = False) -> OpenerDirector:
    """Return what opens HTTP alone, by the proxy of the environment; `raises` HTTPError for what is no success."""
    found = OpenerDirector()
    errors: tuple[BaseHandler, ...] = (HTTPErrorProcessor(), HTTPDefaultErrorHandler()) if raises else (_AnyAnswer(),)
    for handler in (ProxyHandler(), _HttpHandler(), _HttpsHandler(), *errors):
        found.add_handler(handler)
    return found
