"""Flask-WebSub's subscriber: subscriber.py PORT HUB TOPIC SECRET. Says "ready" once the
hub has verified the subscription, then one line of JSON for each content whose
signature is right: the topic, and what feedparser makes of it. Ends with its input."""
import json
import sys
import tempfile
import threading

import feedparser
import flask
import flask_websub.subscriber as websub
from werkzeug.serving import make_server

port, hub, topic, secret = int(sys.argv[1]), *sys.argv[2:5]
websub.is_secure = lambda url: True  # it gives secrets to https hubs only; ours are on loopback
app = flask.Flask("subscriber")
app.config["SERVER_NAME"] = f"127.0.0.1:{port}"
folder = tempfile.TemporaryDirectory()
subscriber = websub.Subscriber(websub.SQLite3SubscriberStorage(folder.name + "/kept.sqlite3"),
                               websub.SQLite3TempSubscriberStorage(folder.name + "/asked.sqlite3"))


def say(**what):
    print(json.dumps(what), flush=True)


@subscriber.add_success_handler
def verified(url, callback, mode):
    say(verified=mode)


@subscriber.add_listener
def content(url, callback, body):
    feed = feedparser.parse(body)
    say(topic=url, bozo=bool(feed.bozo), links={x.rel: x.href for x in feed.feed.links},
        entries=[{"id": e.id, "content": [c.value for c in e.get("content", [])]} for e in feed.entries])


app.register_blueprint(subscriber.build_blueprint(url_prefix="/callbacks"))
threading.Thread(target=make_server("127.0.0.1", port, app, threaded=True).serve_forever, daemon=True).start()
with app.app_context():
    subscriber.subscribe(topic_url=topic, hub_url=hub, secret=secret, lease_seconds=3600)
sys.stdin.read()
