"""A real mail server for the tests: aiosmtpd, with every mail parsed by Python's own email package.

Prints `port N`, then one line of JSON for each mail. Ends when its standard input does, so that no test leaves it behind.
Options: --starttls CERT KEY, --implicit CERT KEY, --login USER PASSWORD, --refuse ADDRESS
"""

import asyncio
import base64
import email
import email.policy
import json
import ssl
import sys
import unicodedata
import warnings
from html.parser import HTMLParser

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


# A login without encryption is what some tests are about.
warnings.simplefilter("ignore")


class Page(HTMLParser):
    """What a program that shows HTML finds in it."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.links, self.odd = set(), set(), [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, value in attributes}
        self.links += [value for name, value in attributes if name in ("href", "src", "action")]

    def handle_comment(self, data):
        self.odd.append(data)

    unknown_decl = handle_pi = handle_comment

    def found(self):
        return {"tags": sorted(self.tags), "attributes": sorted(self.attributes), "links": self.links, "odd": self.odd}


def hidden(text):
    """Characters that control, that turn text around, or that nobody sees."""
    return [char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


class Handler:
    def __init__(self, refused):
        self.refused = refused

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address in self.refused:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = [part for part in message.walk() if not part.is_multipart()]
        pages = [part.get_content() for part in parts if part.get_content_type() == "text/html"]
        print(
            json.dumps(
                {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "hello": session.host_name,
                    "tls": server.transport.get_extra_info("sslcontext") is not None,
                    "login": session.authenticated,
                    "raw": base64.b64encode(envelope.content).decode(),
                    "headers": [[name, str(value)] for name, value in message.items()],
                    "addresses": [[a.display_name, a.addr_spec] for a in message["To"].addresses],
                    "type": message.get_content_type(),
                    "hidden": hidden(str(message["Subject"])),
                    "pages": [Page(page).found() for page in pages],
                    "parts": [
                        {
                            "type": part.get_content_type(),
                            "charset": part.get_content_charset(),
                            "encoding": part["Content-Transfer-Encoding"],
                            "text": part.get_content(),
                            "defects": [repr(defect) for defect in part.defects],
                        }
                        for part in parts
                    ],
                    "defects": [repr(defect) for defect in message.defects],
                }
            ),
            flush=True,
        )
        return "250 2.0.0 queued as 4711"


def tls(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def main(arguments):
    handler, options, implicit = Handler(set()), {}, None
    while arguments:
        option = arguments.pop(0)
        if option == "--starttls":
            options |= {"tls_context": tls(arguments.pop(0), arguments.pop(0)), "require_starttls": True}
        elif option == "--implicit":
            implicit = tls(arguments.pop(0), arguments.pop(0))
        elif option == "--login":
            expected = (arguments.pop(0).encode(), arguments.pop(0).encode())

            def check(server, session, envelope, mechanism, data):
                good = isinstance(data, LoginPassword) and (data.login, data.password) == expected
                return AuthResult(success=good, handled=False)

            options |= {"authenticator": check, "auth_required": True, "auth_require_tls": False}
        elif option == "--refuse":
            handler.refused.add(arguments.pop(0))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname="sink.test", **options), "127.0.0.1", 0, ssl=implicit)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main(sys.argv[1:]))
