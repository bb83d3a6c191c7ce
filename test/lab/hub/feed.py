"""Reads a feed from its input: feed.py SCHEMA. Says in JSON whether it is valid by the
schema (RELAX NG, compact), and what feedparser makes of it."""
import json
import sys

import feedparser
import rnc2rng
from lxml import etree

body = sys.stdin.buffer.read()
# The conversion declares a prefix for no namespace, which XML does not allow.
schema = rnc2rng.dumps(rnc2rng.load(sys.argv[1])).replace('xmlns:local=""', "")
schema = etree.RelaxNG(etree.fromstring(schema.encode()))
valid = schema.validate(etree.fromstring(body))
feed = feedparser.parse(body)
print(json.dumps({
    "valid": valid, "errors": str(schema.error_log), "bozo": bool(feed.bozo), "version": feed.version, "id": feed.feed.get("id"),
    "links": [[x.rel, x.href] for x in feed.feed.get("links", [])],
    "entries": [{"id": e.get("id"), "title": e.get("title"), "updated": e.get("updated"), "summary": e.get("summary"),
                 "link": next((x.href for x in e.get("links", []) if x.rel == "alternate"), None),
                 "tags": [t.term for t in e.get("tags", [])], "content": [[c.type, c.value] for c in e.get("content", [])]}
                for e in feed.entries]}))
