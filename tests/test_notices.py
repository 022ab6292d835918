"""The morning's line reaches a chat and a mailbox, and the addresses of neither are ever printed."""

import json
import socketserver
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from vrft_core import notices

SENTENCE = "FAILED: lvis-mini-1shot-s0 lost 4.2 points of LVIS AP (95 % interval −6.3 to −2.1)."


class Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP as takes a message; what was sent is kept by the server."""

    def handle(self) -> None:
        self.wfile.write(b"220 sink\r\n")
        while line := self.rfile.readline():
            word = line.split()[0].upper() if line.split() else b""
            self.server.lines.append(line.decode())
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while (text := self.rfile.readline()) != b".\r\n":
                    self.server.lines.append(text.decode())
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")
            if word == b"QUIT":
                return


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture(autouse=True)
def nobody_is_told(monkeypatch):
    for variable in (notices.WEBHOOK, notices.SMTP, notices.TO, notices.FROM):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def mailbox():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.daemon_threads, server.lines = True, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def hook():
    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        server.got, server.status = [], 200
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def port(server) -> int:
    return server.server_address[1]


def test_without_variables_nothing_is_sent():
    assert notices.notify("subject", SENTENCE, {}) == []


def test_a_webhook_gets_the_sentence_and_the_verdicts(hook, monkeypatch):
    monkeypatch.setenv(notices.WEBHOOK, f"http://127.0.0.1:{port(hook)}/hook/token")
    assert notices.notify("subject", SENTENCE, {"passed": False, "text": "never this"}) == []
    assert hook.got == [("/hook/token", "application/json", {"passed": False, "text": SENTENCE})]


def test_a_mailbox_gets_one_message(mailbox, monkeypatch):
    monkeypatch.setenv(notices.SMTP, f"smtp://127.0.0.1:{port(mailbox)}")
    monkeypatch.setenv(notices.TO, "a@example.org, b@example.org")
    assert notices.notify("vrft nightly: FAILED\r\nBcc: c@example.org", "It lost 4.2 points.", {}) == []
    said = "".join(mailbox.lines)
    assert "RCPT TO:<a@example.org>" in said.replace("rcpt", "RCPT") and "b@example.org" in said
    assert "Subject: vrft nightly: FAILED  Bcc: c@example.org" in said, "a subject makes no header"
    assert "rcpt TO:<c@example.org>" not in said and "It lost 4.2 points." in said


def test_a_place_that_fails_is_named_by_its_variable_alone_and_the_other_is_told(hook, monkeypatch, capsys):
    hook.status = 500
    monkeypatch.setenv(notices.WEBHOOK, f"http://127.0.0.1:{port(hook)}/secret-token")
    monkeypatch.setenv(notices.SMTP, "smtp://someone:hush@127.0.0.1:1")
    monkeypatch.setenv(notices.TO, "a@example.org")
    troubles = notices.notify("subject", SENTENCE, {})
    assert [line.split(":")[0] for line in troubles] == [notices.WEBHOOK, notices.SMTP]
    said = capsys.readouterr()
    for secret in ("secret-token", "hush", "127.0.0.1", "someone"):
        assert secret not in "".join(troubles) + said.out + said.err


def test_a_password_is_never_sent_in_the_clear(mailbox, monkeypatch):
    """The sink offers no encryption: nothing is sent at all."""
    monkeypatch.setenv(notices.SMTP, f"smtp://someone:hush@127.0.0.1:{port(mailbox)}")
    monkeypatch.setenv(notices.TO, "a@example.org")
    assert len(notices.notify("subject", SENTENCE, {})) == 1
    assert "hush" not in "".join(mailbox.lines) and "AUTH" not in "".join(mailbox.lines).upper()


def test_a_mail_servers_certificate_is_checked(monkeypatch):
    seen = []

    class Refused(Exception):
        pass

    def refuse(*_: object, context: ssl.SSLContext, **__: object) -> None:
        seen.append(context)
        raise Refused

    monkeypatch.setattr(notices.smtplib, "SMTP_SSL", refuse)
    monkeypatch.setenv(notices.SMTP, "smtps://someone:hush@mail.example")
    monkeypatch.setenv(notices.TO, "team@example.org")
    with pytest.raises(Refused):
        notices._mail("subject", "text", {})
    assert seen[0].verify_mode is ssl.CERT_REQUIRED and seen[0].check_hostname


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x"])
def test_only_http_addresses_are_webhooks(address, monkeypatch):
    monkeypatch.setenv(notices.WEBHOOK, address)
    assert len(notices.notify("subject", SENTENCE, {})) == 1
