"""Drive a running WebSub hub end to end: websub_check.py HUB_URL [PORT]

Serves an Atom feed and a callback on 127.0.0.1:PORT (default 8097), subscribes
with a secret, pings the hub in every common form, checks X-Hub-Signature of
what arrives, unsubscribes. Prints one line per step; exit 1 if no ping worked.
"""
import hashlib, hmac, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener
from urllib.error import HTTPError

hub = sys.argv[1]
port = int(sys.argv[2]) if len(sys.argv) > 2 else 8097
base = f"http://127.0.0.1:{port}"
topic, cb, secret = base + "/feed.atom", base + "/cb", "lab-secret"
state = {"n": 0}
verifications, deliveries, fetches = [], [], []


def feed():
    return f"""<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><id>urn:lab:feed</id><title>lab</title>
<updated>2026-01-01T00:00:00Z</updated><link rel="hub" href="{hub}"/><link rel="self" href="{topic}"/>
<entry><id>urn:lab:entry:{state['n']}</id><title>entry {state['n']}</title><updated>2026-01-01T00:00:00Z</updated></entry></feed>
""".encode()


class H(BaseHTTPRequestHandler):
    def do_GET(self):
        u = urlsplit(self.path)
        ct, out, link = "text/plain", b"", None
        if u.path == "/feed.atom":
            fetches.append(dict(self.headers))
            ct, out, link = "application/atom+xml", feed(), f'<{hub}>; rel="hub", <{topic}>; rel="self"'
        elif u.path == "/cb":
            q = {k: v[0] for k, v in parse_qs(u.query).items()}
            verifications.append(q)
            out = q.get("hub.challenge", "").encode()
        self.send_response(200)
        self.send_header("Content-Type", ct)
        self.send_header("Content-Length", str(len(out)))
        if link:
            self.send_header("Link", link)
        self.end_headers()
        self.wfile.write(out)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        deliveries.append((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", port), H).serve_forever, daemon=True).start()
opener = build_opener(ProxyHandler({}))


def post(**kw):
    data = urlencode([("hub." + k, v) for k, v in kw.items()]).encode()
    try:
        r = opener.open(Request(hub, data, {"Content-Type": "application/x-www-form-urlencoded"}), timeout=10)
    except HTTPError as e:
        r = e
    return r.status, r.read()[:120].decode("utf-8", "replace").strip()


def wait(lst, n, secs=5):
    end = time.time() + secs
    while len(lst) < n and time.time() < end:
        time.sleep(0.05)
    return len(lst) >= n


print("subscribe:", *post(mode="subscribe", topic=topic, callback=cb, secret=secret, lease_seconds="3600"))
print("  verification:", {k: v for k, v in verifications[0].items() if k != "hub.challenge"} if wait(verifications, 1) else "NONE")
time.sleep(0.5)
ok = 0
for name, kw in (("hub.topic", {"topic": topic}), ("hub.url", {"url": topic}), ("hub.topic + hub.url", {"topic": topic, "url": topic})):
    state["n"] += 1
    n = len(deliveries)
    print(f"ping with {name}:", *post(mode="publish", **kw))
    if not wait(deliveries, n + 1):
        print("  nothing arrived")
        continue
    h, body = deliveries[-1]
    low = {k.lower(): v for k, v in h.items()}
    alg, _, sig = low.get("x-hub-signature", "").partition("=")
    good = bool(alg) and hmac.compare_digest(hmac.new(secret.encode(), body, getattr(hashlib, alg)).hexdigest(), sig)
    fresh = f"entry {state['n']}".encode() in body
    print(f"  arrived: signature {alg or 'missing'} {'good' if good else 'BAD'}, fresh content {fresh}, Content-Type {low.get('content-type')}, Link {low.get('link')}")
    ok += good and fresh
n = len(verifications)
print("unsubscribe:", *post(mode="unsubscribe", topic=topic, callback=cb))
print("  verification:", "yes" if wait(verifications, n + 1) else "NONE")
time.sleep(0.5)
state["n"] += 1
n = len(deliveries)
post(mode="publish", topic=topic, url=topic)
print("after unsubscribe:", "still delivers" if wait(deliveries, n + 1, 2) else "silent")
print("no hub.mode:", *post(topic=topic)); print("unknown mode:", *post(mode="nope", topic=topic))
print("topic fetches:", len(fetches), "user agent", fetches[-1].get("User-Agent") if fetches else None)
sys.exit(0 if ok else 1)
