"""A small WebSub hub (W3C REC 2018) for the lab, in memory, our own code.

hub.py PORT [--ping topic|url|any] [--need-link] [--alg sha256] [--fail N] [--log FILE]
  --ping       which parameter a publish ping must carry (real hubs differ)
  --need-link  only distribute topics answered with Link rel=hub and rel=self
  --fail N     answer the first N pings 503 with Retry-After: 1
  --log        every POST as one JSON line
GET / lists the subscriptions as JSON.
"""
import argparse, hashlib, hmac, json, secrets, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

ap = argparse.ArgumentParser()
ap.add_argument("port", type=int)
ap.add_argument("--ping", choices=("topic", "url", "any"), default="any")
ap.add_argument("--need-link", action="store_true")
ap.add_argument("--alg", default="sha256", choices=("sha1", "sha256", "sha384", "sha512"))
ap.add_argument("--fail", type=int, default=0)
ap.add_argument("--log")
a = ap.parse_args()
me = f"http://127.0.0.1:{a.port}/"
lock, subs, left = threading.Lock(), {}, [a.fail]  # subs[topic][callback] = (secret, expires)
opener = build_opener(ProxyHandler({}))


def verify(mode, topic, cb, secret, lease):
    ch = secrets.token_urlsafe(24)
    q = {"hub.mode": mode, "hub.topic": topic, "hub.challenge": ch, "hub.lease_seconds": lease}
    try:
        r = opener.open(cb + ("&" if urlsplit(cb).query else "?") + urlencode(q), timeout=10)
        if r.read(len(ch) + 1).decode() != ch:
            return
    except (URLError, OSError):
        return
    with lock:
        if mode == "subscribe":
            subs.setdefault(topic, {})[cb] = (secret, time.time() + lease)
        else:
            subs.get(topic, {}).pop(cb, None)


def distribute(topic):
    try:
        r = opener.open(Request(topic, headers={"User-Agent": "lab-hub"}), timeout=10)
        body, ct, link = r.read(), r.headers.get("Content-Type", "application/octet-stream"), ", ".join(r.headers.get_all("Link") or [])
    except (URLError, OSError) as e:
        print("fetch", topic, e, file=sys.stderr, flush=True)
        return
    if a.need_link and not ('rel="hub"' in link and 'rel="self"' in link):
        print("no Link headers on", topic, file=sys.stderr, flush=True)
        return
    with lock:
        to = list(subs.get(topic, {}).items())
    for cb, (secret, expires) in to:
        if expires < time.time():
            continue
        h = {"Content-Type": ct, "Link": f'<{me}>; rel="hub", <{topic}>; rel="self"'}
        if secret:
            h["X-Hub-Signature"] = f"{a.alg}=" + hmac.new(secret.encode(), body, getattr(hashlib, a.alg)).hexdigest()
        for wait in (0, 1, 3):
            time.sleep(wait)
            try:
                opener.open(Request(cb, body, h), timeout=10)
                break
            except HTTPError as e:
                if e.code == 410:
                    with lock:
                        subs.get(topic, {}).pop(cb, None)
                    break
            except (URLError, OSError):
                pass


class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, code, text="", **h):
        out = text.encode()
        self.send_response(code)
        for k, v in h.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    def do_GET(self):
        with lock:
            self.answer(200, json.dumps({t: list(c) for t, c in subs.items()}))

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
        if a.log:
            with lock, open(a.log, "a") as f:
                f.write(json.dumps({"t": time.time(), "path": self.path, "headers": self.headers.items(), "body": raw}) + "\n")
        if self.headers.get("Content-Type", "").split(";")[0].strip() != "application/x-www-form-urlencoded":
            return self.answer(415, "form expected")
        q = parse_qs(raw)
        f = {k: v[0] for k, v in q.items()}
        mode, topic = f.get("hub.mode"), f.get("hub.topic")
        if mode in ("subscribe", "unsubscribe"):
            cb, secret = f.get("hub.callback", ""), f.get("hub.secret", "")
            if not topic or urlsplit(cb).scheme not in ("http", "https") or len(secret) >= 200:
                return self.answer(400, "hub.topic, hub.callback or hub.secret")
            lease = min(max(int(f.get("hub.lease_seconds") or 864000), 1), 2592000)
            self.answer(202)
            threading.Thread(target=verify, args=(mode, topic, cb, secret, lease), daemon=True).start()
        elif mode == "publish":
            names = {"topic": ["hub.topic"], "url": ["hub.url"], "any": ["hub.topic", "hub.url"]}[a.ping]
            topics = dict.fromkeys(t for n in names for t in q.get(n, []))
            if not topics:
                return self.answer(400, "missing " + " or ".join(names))
            with lock:
                left[0] -= 1
                fail = left[0] >= 0
            if fail:
                return self.answer(503, "later", Retry_After="1")
            self.answer(202)
            for t in topics:
                threading.Thread(target=distribute, args=(t,), daemon=True).start()
        else:
            self.answer(400, "hub.mode")

    def log_message(self, *args):
        pass


ThreadingHTTPServer(("127.0.0.1", a.port), H).serve_forever()
