#!/usr/bin/python3
"""A publisher plugin for Fresnel in Python: it posts the data of each event.

It needs nothing but Debian's python3-grpcio and the openssl command, and shows all
that a plugin in any language has to do: go-plugin's handshake with and without
AutoMTLS, health, stdio and shutdown services, the publisher service itself, outcomes
for every answer, deadlines, cancellation, draining, and an address guard that is
asked after name resolution. publisher_pb2.py is protoc's output for
plugins/publisherv1/publisher.proto.
"""

import base64
import email.utils
import http.client
import ipaddress
import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote, urlsplit

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines on stderr are no JSON

import grpc

import publisher_pb2 as pb

NAME, VERSION, SCHEMES = "post-py", "1.0.0", ["http", "https"]
MOST = 100  # deliveries in a batch
CONFIG_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "user_agent": {"type": "string", "default": "Fresnel"},
        "outbound": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "allow": {"type": "array", "items": {"type": "string"}},
                "proxy": {"type": "string"},
            },
        },
    },
}
LEVELS = ["DEBUG", "INFO", "WARN", "ERROR"]


def log(level, msg, **more):
    """Writes a line that the host understands. Never give it a secret or a URL."""
    wanted = os.environ.get("FRESNEL_LOG_LEVEL", "INFO").upper()
    if wanted not in LEVELS or LEVELS.index(level) >= LEVELS.index(wanted):
        print(json.dumps({"level": level, "msg": msg, **more}), file=sys.stderr, flush=True)


class Guard:
    """Decides which addresses may be connected to: public ones, and those allowed."""

    # What ipaddress takes for global, but leads elsewhere.
    HIDDEN = [ipaddress.ip_network(n) for n in (
        "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/23", "::/96", "fec0::/10",
        "192.88.99.0/24", "168.63.129.16/32")]

    def __init__(self, allow):
        self.allow = [ipaddress.ip_network(n) for n in allow]

    def refuses(self, address):
        ip = ipaddress.ip_address(address.split("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if any(ip in n for n in self.allow):
            return False
        return not ip.is_global or ip.is_multicast or any(ip in n for n in self.HIDDEN)


class Refused(Exception):
    pass


class Config:
    def __init__(self, raw):
        """Takes the configuration as JSON; raises ValueError with what is wrong."""
        keys = json.loads(raw or b"{}")
        if not isinstance(keys, dict):
            raise ValueError("the configuration must be an object")
        out = keys.pop("outbound", {})
        self.user_agent = keys.pop("user_agent", "Fresnel")
        allow, proxy = out.pop("allow", None) or [], out.pop("proxy", "")
        strange = list(keys) + ["outbound." + k for k in out]
        if strange:
            raise ValueError("not a known key: " + ", ".join(strange))
        if not isinstance(self.user_agent, str) or proxy:
            raise ValueError("user_agent must be a string, and outbound.proxy is not supported")
        self.guard = Guard(allow)


def retry(code, message, scope=pb.SCOPE_DELIVERY, after=0.0):
    r = pb.Retry(code=code, message=message, scope=scope)
    if after > 0:
        r.after.FromMilliseconds(int(after * 1000))
    return {"retry": r}


def rejected(code, message, scope=pb.SCOPE_DELIVERY):
    return {"rejected": pb.Rejected(code=code, message=message, scope=scope)}


def retry_after(value):
    """Reads seconds or a date, at most a day ahead."""
    try:
        return min(max(float(int(value)), 0.0), 86400.0)
    except (TypeError, ValueError):
        pass
    try:
        return min(max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0), 86400.0)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def outcome(status, header):
    """The table of the contract."""
    code = "http_%d" % status if status in http.client.responses else "http_other"
    message = "HTTP status %d" % status
    if 200 <= status < 300:
        return {"delivered": pb.Delivered()}
    if status == 410:
        return rejected(code, message, pb.SCOPE_DESTINATION)
    if status in (401, 403):
        return retry(code, message, pb.SCOPE_DESTINATION)
    if status in (404, 408, 409, 425, 429) or status >= 500:
        return retry(code, message, after=retry_after(header.get("Retry-After")))
    return rejected(code, message)  # redirects too: they are never followed


class Batch:
    """One call of Publish."""

    def __init__(self, config, request, until):
        self.config, self.request, self.until = config, request, until
        self.results = queue.Queue()
        self.lock, self.sockets, self.over = threading.Lock(), set(), False

    def close(self):
        """Ends what is on the network, when the call is over or cancelled."""
        with self.lock:
            self.over = True
            for s in self.sockets:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.results.put(None)

    def keep(self, s):
        with self.lock:
            self.sockets.add(s)
            if self.over:
                raise TimeoutError

    def attempt(self, delivery):
        try:
            result = self.make(delivery)
        except Refused:
            result = retry("address_refused", "not a public address; set publishers.outbound.allow to let it through",
                           pb.SCOPE_DESTINATION)
        except TimeoutError:
            result = retry("timeout", "no answer in time")
        except socket.gaierror as e:
            result = retry("dns", str(e.strerror))
        except (OSError, http.client.HTTPException) as e:
            result = retry("transport", type(e).__name__)
        except Exception as e:  # a mistake in this file must cost one delivery only
            log("ERROR", "attempt failed", error=type(e).__name__)
            result = retry("panic", type(e).__name__)
        self.results.put(pb.DeliveryResult(delivery_id=delivery.delivery_id, **result))

    def make(self, delivery):
        if delivery.destination >= len(self.request.destinations):
            return rejected("bad_destination", "its destination is not in the batch")
        try:
            url = urlsplit(self.request.destinations[delivery.destination].uri)
            host, port = url.hostname, url.port or {"http": 80, "https": 443}[url.scheme]
        except (ValueError, KeyError):
            host = None
        if not host:
            return rejected("bad_destination", "not an http or https URL", pb.SCOPE_DESTINATION)
        path = (url.path or "/") + ("?" + url.query if url.query else "")
        headers = {"Content-Type": delivery.event.content_type or "application/octet-stream",
                   "User-Agent": self.config.user_agent, "Webhook-Id": delivery.delivery_id}
        if url.username:
            pair = unquote(url.username) + ":" + unquote(url.password or "")
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        conn = http.client.HTTPConnection(host, port)
        conn.sock = self.connect(host, port, url.scheme == "https")
        try:
            conn.request("POST", path, body=delivery.event.data, headers=headers)
            answer = conn.getresponse()
            return outcome(answer.status, answer.headers)
        finally:
            with self.lock:
                self.sockets.discard(conn.sock)
            conn.close()

    def connect(self, host, port, tls):
        """Resolves, asks the guard about each address, and connects to that address."""
        error = None
        for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if self.config.guard.refuses(address[0]):
                error = Refused()
                continue
            left = self.until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                s = socket.create_connection(address[:2], timeout=left)
            except OSError as e:
                error = e
                continue
            if tls:
                s = ssl.create_default_context().wrap_socket(s, server_hostname=host)
            self.keep(s)
            return s
        raise error or OSError()


class Publisher:
    """The service of plugins/publisherv1/publisher.proto."""

    def __init__(self):
        self.config, self.draining, self.in_flight = None, False, 0
        self.changed = threading.Condition()

    def GetInfo(self, request, context):
        return pb.GetInfoResponse(
            name=NAME, version=VERSION, schemes=SCHEMES, config_schema=json.dumps(CONFIG_SCHEMA).encode(),
            limits=pb.Limits(max_batch_deliveries=MOST, max_batch_bytes=1 << 20, max_batches_in_flight=4))

    def Configure(self, request, context):
        try:
            config = Config(request.config_json)
        except (ValueError, TypeError, AttributeError) as e:
            return pb.ConfigureResponse(diagnostics=[
                pb.Diagnostic(severity=pb.Diagnostic.SEVERITY_ERROR, summary=str(e))])
        if not request.validate_only:
            self.config = config
        return pb.ConfigureResponse()

    def CheckDestination(self, request, context):
        if request.destination.uri.split(":")[0].lower() in SCHEMES:
            return pb.CheckDestinationResponse()
        return pb.CheckDestinationResponse(diagnostics=[pb.Diagnostic(
            severity=pb.Diagnostic.SEVERITY_ERROR, path="/uri", summary="must begin with http or https")])

    def Publish(self, request, context):
        count = len(request.deliveries)
        if self.config is None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not configured yet")
        if count > MOST:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "more than %d deliveries" % MOST)
        with self.changed:
            if not self.draining:
                self.in_flight += count
            refused = self.draining
        if refused:
            context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        left = min(context.time_remaining() or 60.0, 60.0)
        until = time.monotonic() + left - min(0.5, left / 4)  # time for the answers
        batch = Batch(self.config, request, until)
        pool = ThreadPoolExecutor(16)
        try:
            log("DEBUG", "batch begins", count=count)
            if not context.add_callback(batch.close):
                return
            for d in request.deliveries:
                pool.submit(batch.attempt, d)
            yield from self.answers(batch, {d.delivery_id for d in request.deliveries})
        finally:
            batch.close()
            pool.shutdown(wait=False, cancel_futures=True)
            with self.changed:
                self.in_flight -= count
                self.changed.notify_all()

    def answers(self, batch, waiting):
        while waiting:
            try:
                result = batch.results.get(timeout=max(batch.until - time.monotonic(), 0))
            except queue.Empty:
                late = retry("timeout", "no answer in time")
                yield pb.PublishResponse(results=[pb.DeliveryResult(delivery_id=i, **late) for i in waiting])
                return
            if result is None:  # the call is over, nobody listens
                return
            waiting.discard(result.delivery_id)
            yield pb.PublishResponse(results=[result])

    def GetStatus(self, request, context):
        return pb.GetStatusResponse(state=pb.GetStatusResponse.STATE_OK, deliveries_in_flight=self.in_flight)

    def Drain(self, request, context):
        with self.changed:
            self.draining, before = True, self.in_flight
            self.changed.wait_for(lambda: self.in_flight == 0, timeout=request.grace.ToMilliseconds() / 1000)
            return pb.DrainResponse(finished=before - self.in_flight, abandoned=self.in_flight)


class Stdio:
    """Sends what is printed to the host: after the handshake, stdout is not ours."""

    def __init__(self):
        self.lines = queue.Queue()

    def write(self, text):
        self.lines.put(text.encode())

    def flush(self):
        pass

    def stream(self, request, context):
        while True:
            data = self.lines.get()
            if data is None:
                return
            size, head = len(data), b"\x08\x01\x12"  # channel: stdout, data:
            while size > 127:
                head, size = head + bytes([size & 127 | 128]), size >> 7
            yield head + bytes([size]) + data


def handlers(publisher, stdio, stop):
    """All services, without generated stubs; messages without members are empty bytes."""
    def unary(f, request=None, response=None):
        return grpc.unary_unary_rpc_method_handler(
            f, request and request.FromString, response and response.SerializeToString)

    def shutdown(request, context):
        stop.set()
        return b""

    calls = {name: unary(getattr(publisher, name), getattr(pb, name + "Request"), getattr(pb, name + "Response"))
             for name in ("GetInfo", "Configure", "CheckDestination", "GetStatus", "Drain")}
    calls["Publish"] = grpc.unary_stream_rpc_method_handler(
        publisher.Publish, pb.PublishRequest.FromString, pb.PublishResponse.SerializeToString)
    serving = b"\x08\x01"
    return (
        grpc.method_handlers_generic_handler("fresnel.publisher.v1.Publisher", calls),
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": unary(lambda r, c: serving)}),
        grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": unary(shutdown)}),
        grpc.method_handlers_generic_handler("plugin.GRPCStdio", {
            "StreamStdio": grpc.unary_stream_rpc_method_handler(stdio.stream)}),
    )


def own_certificate():
    """Makes a key and a certificate that live as long as this process."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "-",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "3650"],
        check=True, capture_output=True).stdout
    begin = made.index(b"-----BEGIN CERTIFICATE-----")
    return made[:begin], made[begin:]


def main():
    if os.environ.get("FRESNEL_PUBLISHER") != "fresnel-publisher":
        sys.exit("This is a publisher plugin; Fresnel starts it.")
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(s, signal.SIG_IGN)  # they reach whole groups; the host says when to end

    def exit_with_host():
        while os.read(0, 4096):
            pass
        os._exit(0)
    threading.Thread(target=exit_with_host, daemon=True).start()

    stdio, stop = Stdio(), threading.Event()
    server = grpc.server(ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", 16 << 20)])
    server.add_generic_rpc_handlers(handlers(Publisher(), stdio, stop))
    path = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "post-%d" % os.getpid())
    certificate = ""
    client = os.environ.get("PLUGIN_CLIENT_CERT")
    if client:
        key, cert = own_certificate()
        server.add_secure_port("unix:" + path, grpc.ssl_server_credentials(
            [(key, cert)], root_certificates=client.encode(), require_client_auth=True))
        certificate = base64.b64encode(ssl.PEM_cert_to_DER_cert(cert.decode())).decode().rstrip("=")
    else:
        server.add_insecure_port("unix:" + path)
    server.start()
    print("1|1|unix|%s|grpc|%s" % (path, certificate), flush=True)
    sys.stdout = stdio
    stop.wait()
    stdio.lines.put(None)
    server.stop(grace=1).wait()
    sys.stderr.flush()
    os._exit(0)  # threads that wait for receivers must not keep it


if __name__ == "__main__":
    main()
