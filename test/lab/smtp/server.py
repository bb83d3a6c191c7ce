"""Mail servers on loopback, of aiosmtpd: PORT offers STARTTLS and wants a log-in after
it, PORT+1 speaks TLS from the first byte, PORT+2 takes everything in the clear. What
they accept is in the folder MAILBOX, a Maildir.

    server.py PORT FOLDER      with tls/server.crt and tls/server.key in it
"""
import asyncio
import ssl
import sys

from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

LIMIT = 128 * 1024  # bytes of a mail


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"fresnel", b"fresnel-pass")
    return AuthResult(success=good, handled=False)


class Box(Mailbox):
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"


async def main(port, folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder + "/tls/server.crt", folder + "/tls/server.key")
    box = Box(folder + "/mail")
    login = dict(authenticator=authenticate, auth_required=True, data_size_limit=LIMIT)
    loop = asyncio.get_running_loop()

    def starttls():
        return SMTP(box, tls_context=context, require_starttls=True, **login)

    def wrapped():
        return SMTP(box, auth_require_tls=False, **login)

    def clear():
        return SMTP(box, data_size_limit=LIMIT)

    await loop.create_server(starttls, "127.0.0.1", port)
    await loop.create_server(wrapped, "127.0.0.1", port + 1, ssl=context)
    await loop.create_server(clear, "127.0.0.1", port + 2)
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
