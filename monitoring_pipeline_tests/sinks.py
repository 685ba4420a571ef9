"""Real servers on loopback that stand for Slack, PagerDuty, a webhook's reader or a mail server, and fail as scripted.

Add a way to fail here. Keep what a channel should make of it out: that belongs in the tests.
"""

import email
import json
import os
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from monitoring_pipeline_tests.binaries import require


@dataclass(frozen=True)
class Answer:
    """Answer the request."""

    status: int = 200
    body: str = "ok"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """Take the request and say nothing."""


@dataclass(frozen=True)
class Cut:
    """Take the request, then reset the connection instead of answering."""


Behaviour = Answer | Hang | Cut


@dataclass(frozen=True)
class Posted:
    """One request as it came in, and what was done with it."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    behaviour: Behaviour

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def taken(self) -> bool:
        """Whether the service has the message, whatever the sender knows of it."""
        return not isinstance(self.behaviour, Answer) or self.behaviour.status < 300


class HttpSink:
    """Takes every POST; answers as scripted, one behaviour a request, and with `usually` once the script is over."""

    def __init__(self, usually: Callable[["HttpSink", bytes], Answer], port: int = 0) -> None:
        self.received: list[Posted] = []
        self._script: deque[Behaviour] = deque()
        self._usually = usually
        self._over = threading.Event()
        self._lock = threading.Lock()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sink._take(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def script(self, *behaviours: Behaviour) -> None:
        self._script.extend(behaviours)

    def let_go(self) -> None:
        """Reset the connections that hang."""
        self._over.set()

    @property
    def taken(self) -> list[Posted]:
        return [posted for posted in self.received if posted.taken]

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self._lock:
            behaviour = self._script.popleft() if self._script else self._usually(self, body)
            self.received.append(Posted(handler.path, dict(handler.headers), body, behaviour))
        if isinstance(behaviour, Answer):
            with suppress(OSError):  # who posted may have read enough
                handler.send_response(behaviour.status)
                for name, value in behaviour.headers.items():
                    handler.send_header(name, value)
                handler.send_header("Content-Length", str(len(behaviour.body.encode())))
                handler.end_headers()
                handler.wfile.write(behaviour.body.encode())
            return
        if isinstance(behaviour, Hang):
            self._over.wait(60)
        reset(handler.connection)
        handler.close_connection = True


def ok(_sink: HttpSink, _body: bytes) -> Answer:
    return Answer()


def like_pagerduty(_sink: HttpSink, _body: bytes) -> Answer:
    return Answer(202, '{"status": "success", "message": "Event processed"}')


def like_slack(sink: HttpSink, _body: bytes) -> Answer:
    ts = f"1700000000.{len(sink.received):06}"
    return Answer(200, json.dumps({"ok": True, "channel": "C0ML", "ts": ts}), {"Content-Type": "application/json"})


@contextmanager
def http_sink(usually: Callable[[HttpSink, bytes], Answer] = ok, port: int = 0) -> Iterator[HttpSink]:
    sink = HttpSink(usually, port)
    with _serving(sink._server, sink._over):
        yield sink


@dataclass(frozen=True)
class Mail:
    """One mail as the server has it."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    login: str
    encrypted: bool

    def part(self, kind: str) -> str:
        found = self.message.get_body((kind,))
        assert found is not None, f"no {kind} part"
        return str(found.get_content()).replace("\r\n", "\n")


CUT, HANG = "CUT", "HANG"


class SmtpSink:
    """A mail server that takes everything, but answers as scripted to a verb: `script("RCPT", "550 no such user")`.

    The end of a mail is the verb `.`: `script(".", CUT)` keeps the mail and resets the connection.
    """

    def __init__(self, certificate: Path | None = None, *, tls: bool = False) -> None:
        self.mails: list[Mail] = []
        self.commands: list[str] = []
        self._scripts: dict[str, deque[str]] = {}
        self._over = threading.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self.context and certificate:
            self.context.load_cert_chain(certificate)
        sink = self

        class Handler(_SmtpHandler):
            of = sink
            encrypted = tls

        self._server = _SmtpServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    def script(self, verb: str, *replies: str) -> None:
        self._scripts.setdefault(verb, deque()).extend(replies)

    def _reply(self, verb: str, usually: str) -> str:
        script = self._scripts.get(verb)
        return script.popleft() if script else usually


class _SmtpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class _SmtpHandler(socketserver.StreamRequestHandler):
    of: ClassVar[SmtpSink]
    encrypted = False

    def handle(self) -> None:
        with suppress(OSError):
            if self.encrypted:
                self._encrypt()
            self._say("CONNECT", "220 sink")
            self._converse()

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def _converse(self) -> None:
        sender, recipients, login = "", list[str](), ""
        usual = {"DATA": "354 go on", "QUIT": "221 bye", "AUTH": "235 come in", "STARTTLS": "220 go on"}
        while line := self.rfile.readline().decode().strip():
            self.of.commands.append(line)
            verb = line.split()[0].upper()
            offers = "250-sink\r\n250-STARTTLS\r\n" if self.of.context and not self.encrypted else "250-sink\r\n"
            usually = f"{offers}250 AUTH PLAIN" if verb == "EHLO" else usual.get(verb, "250 fine")
            if not self._say(verb, usually):
                continue
            if verb == "STARTTLS":
                self._encrypt()
            elif verb == "AUTH":
                login = line.split()[-1]
            elif verb == "MAIL":
                sender, recipients = line, []
            elif verb == "RCPT":
                recipients.append(line.partition("<")[2].partition(">")[0])
            elif verb == "DATA":
                text = b"".join(iter(self.rfile.readline, b".\r\n"))
                message = email.message_from_bytes(text.replace(b"\r\n..", b"\r\n."), policy=default)
                mail = Mail(sender, tuple(recipients), message, login, self.encrypted)
                reply = self.of._reply(".", "250 taken")
                if reply[0] not in "45":
                    self.of.mails.append(mail)
                self._act(reply)
            elif verb == "QUIT":
                return

    def _say(self, verb: str, usually: str) -> bool:
        """Answer; whether that was a yes."""
        reply = self.of._reply(verb, usually)
        self._act(reply)
        return reply[0] in "23"

    def _act(self, reply: str) -> None:
        if reply == HANG:
            self.of._over.wait(60)
        if reply in (HANG, CUT):
            reset(self.connection)
            raise ConnectionAbortedError(reply)
        self.wfile.write(f"{reply}\r\n".encode())

    def _encrypt(self) -> None:
        assert self.of.context is not None
        self.connection = self.of.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.request = self.connection
        self.encrypted = True


@contextmanager
def smtp_sink(certificate: Path | None = None, *, tls: bool = False) -> Iterator[SmtpSink]:
    sink = SmtpSink(certificate, tls=tls)
    with _serving(sink._server, sink._over):
        yield sink


@contextmanager
def _serving(server: socketserver.BaseServer, over: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def certificate_for_loopback(directory: Path) -> Path:
    """Return a file with a new key and its self-signed certificate, which is also what a client has to trust."""
    path = directory / "sink.pem"
    command: list[str | Path] = [
        require("openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=sink",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def reset(connection: socket.socket) -> None:
    """End a connection without a goodbye: what was not read by the other side is lost."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())
