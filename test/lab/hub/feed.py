"""Reads a feed from its input: feed.py SCHEMA. Says in JSON whether it is valid by the
schema (RELAX NG, compact), and what feedparser makes of it."""
import json
import sys

import feedparser
from lxml import etree

body = sys.stdin.buffer.read()
schema = etree.RelaxNG.from_rnc_string(open(sys.argv[1]).read())
valid = schema.validate(etree.fromstring(body))
feed = feedparser.parse(body)
print(json.dumps({
    "valid": valid, "errors": str(schema.error_log), "bozo": bool(feed.bozo), "version": feed.version, "id": feed.feed.get("id"),
    "links": [[x.rel, x.href] for x in feed.feed.get("links", [])],
    "entries": [{"id": e.id, "title": e.title, "updated": e.updated, "summary": e.get("summary"), "link": e.get("link"),
                 "tags": [t.term for t in e.get("tags", [])], "content": [[c.type, c.value] for c in e.get("content", [])]}
                for e in feed.entries]}))
