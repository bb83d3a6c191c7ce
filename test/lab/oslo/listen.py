"""A notification listener of oslo.messaging as any service has it, for all priorities.

    listen.py TRANSPORT-URL TOPIC

Prints "ready" once a notification of oslo's own notifier has come back to it at each
priority, then each notification as a line of JSON, until stdin ends.
"""
import json
import logging
import sys
import threading
import time

import oslo_messaging
from oslo_config import cfg

PRIORITIES = ["audit", "debug", "info", "warn", "error", "critical", "sample"]
PROBE = "probe"

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
lock = threading.Lock()
probed = set()


class Endpoint:
    """One method for each priority, which is how a listener asks for it."""


def take(priority):
    def method(self, context, publisher_id, event_type, payload, metadata):
        if event_type == PROBE:
            probed.add(priority)
            return
        line = json.dumps({"priority": priority, "publisher_id": publisher_id, "event_type": event_type,
                           "payload": payload, "message_id": metadata["message_id"], "timestamp": metadata["timestamp"]})
        with lock:
            print(line, flush=True)
    return method


for p in PRIORITIES:
    setattr(Endpoint, p, take(p))

url, topic = sys.argv[1:]
conf = cfg.ConfigOpts()
conf([])
transport = oslo_messaging.get_notification_transport(conf, url=url)
notifier = oslo_messaging.Notifier(transport, publisher_id="probe.here", driver="messagingv2", topics=[topic])


def probe():
    for p in PRIORITIES:
        getattr(notifier, p)({}, PROBE, {})


probe()  # makes the topics on Kafka, which a listener finds only if they are there
listener = oslo_messaging.get_notification_listener(
    transport, [oslo_messaging.Target(topic=topic)], [Endpoint()], executor="threading")
conf.set_override("executor_thread_pool_size", 1)  # so that what is printed is in order
listener.start()
while len(probed) < len(PRIORITIES):
    probe()
    time.sleep(0.5)
print("ready", flush=True)
sys.stdin.read()
listener.stop()
listener.wait()
