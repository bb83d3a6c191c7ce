"""Reads a queue with python-zaqarclient: read.py URL QUEUE AUTH_OPTS. Prints all of its
messages, the oldest first, as JSON."""
import json
import sys

from zaqarclient.queues import client

url, name, auth = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
queue = client.Client(url, version=2, conf={"auth_opts": auth}).queue(name)
messages, last = {}, {}
while True:  # a marker at the first message of a queue counts for nothing with Redis
    page = {m.href.split("?")[0]: m for m in queue.messages(echo=True, limit=20, **last)}
    if not page.keys() - messages.keys():
        break
    messages |= page
    last = {"marker": list(page)[-1].split("/")[-1]}
print(json.dumps([{"ttl": m.ttl, "body": m.body} for m in messages.values()]))
