"""Telling people by a webhook or by e-mail. Where to: environment variables only, whose values are never printed.

| variable | meaning |
|---|---|
| VRFT_NIGHTLY_WEBHOOK | an address that takes a JSON object by POST, such as a chat's incoming webhook |
| VRFT_NIGHTLY_SMTP | smtp://user:password@host:port (STARTTLS where there is a password), or smtps://… |
| VRFT_NIGHTLY_TO | addresses, separated by commas |
| VRFT_NIGHTLY_FROM | the sender; without it the first of VRFT_NIGHTLY_TO |
"""

import json
import os
import smtplib
import ssl
import urllib.request
from collections.abc import Mapping
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

SECONDS = 20  # that a server is given
WEBHOOK, SMTP, TO, FROM = (f"VRFT_NIGHTLY_{name}" for name in ("WEBHOOK", "SMTP", "TO", "FROM"))


def notify(subject: str, text: str, content: Mapping[str, object]) -> list[str]:
    """Send to every place that is named; a line for each that could not be reached, naming its variable alone.

    `content` goes beside {"text": text} to the webhook. Nothing is raised: a night's verdict stands without its notice.
    """
    troubles = []
    for variable, send in ((WEBHOOK, _post), (SMTP, _mail)):
        if not os.environ.get(variable):
            continue
        try:
            send(_line(subject), text, content)
        except Exception as error:  # a server may answer anything; what it says may hold the address
            troubles.append(f"{variable}: the notice was not sent ({type(error).__name__}); check the address in it")
    return troubles


def _post(subject: str, text: str, content: Mapping[str, object]) -> None:
    address = os.environ[WEBHOOK]
    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError("not an http address")
    body = json.dumps({**content, "text": text}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=SECONDS):
        pass


def _mail(subject: str, text: str, content: Mapping[str, object]) -> None:
    server = urlsplit(os.environ[SMTP])
    if server.scheme not in ("smtp", "smtps") or not server.hostname:
        raise ValueError("not an SMTP address")
    to = [address.strip() for address in os.environ.get(TO, "").split(",") if address.strip()]
    if not to:
        raise ValueError(f"{TO} is empty")
    message = EmailMessage()
    message["Subject"], message["To"] = subject, ", ".join(to)
    message["From"] = os.environ.get(FROM) or to[0]
    message.set_content(text)
    context = ssl.create_default_context()
    if server.scheme == "smtps":
        opened = smtplib.SMTP_SSL(server.hostname, server.port or 465, timeout=SECONDS, context=context)
    else:
        opened = smtplib.SMTP(server.hostname, server.port or 25, timeout=SECONDS)
    with opened as line:
        if server.username:
            if server.scheme == "smtp":
                line.starttls(context=context)  # a password is never sent in the clear
            line.login(unquote(server.username), unquote(server.password or ""))
        line.send_message(message)


def _line(text: str) -> str:
    """One printable line, short enough for a subject."""
    return "".join(c if c.isprintable() else " " for c in text)[:200]
