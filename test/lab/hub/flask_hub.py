"""Flask-WebSub's hub: flask_hub.py PORT FILE. Its tasks run inside of the request: the
answer to a ping comes after the topic was read and delivered."""
import sys

import celery
import flask
from flask_websub.hub import Hub, SQLite3HubStorage
from werkzeug.serving import run_simple

app = flask.Flask("hub")
app.config["PUBLISH_SUPPORTED"] = True
tasks = celery.Celery("hub")
tasks.conf.task_always_eager = True
hub = Hub(SQLite3HubStorage(sys.argv[2]), tasks, MAX_ATTEMPTS=0, REQUEST_TIMEOUT=10)
app.register_blueprint(hub.build_blueprint(url_prefix="/hub"))
run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
