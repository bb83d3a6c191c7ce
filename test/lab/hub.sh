#!/usr/bin/env bash
# WebSub hubs on loopback. hub.py is small and our own, in memory, on 28090; it can be
# as strict as real ones are: --ping topic|url, --need-link, --alg sha512, --fail N.
# flask_hub.py is Flask-WebSub's hub, on 28092.
#   hub.sh start [OPTIONS OF hub.py] | stop | wipe | status | env | fetch
#   hub.sh check URL    what a hub does with subscriptions and pings, step by step
set -eu
. "$(dirname "$0")/common.sh"
PORT=$((28090 + LAB_SHIFT))
D=$LAB_DIR/hub PY=$LAB_CACHE/python-hub/bin/python

provision() { python_with hub flask-websub==0.4.1 celery==5.5.3 feedparser==6.0.14 lxml==6.0.2 rnc2rng==2.7.0; }

case "${1:-}" in
fetch) provision ;;
start)
  shift
  provision
  mkdir -p "$D"
  running hub || free_port "$PORT"
  start_bg hub "$PY" "$LAB_SRC/hub/hub.py" "$PORT" --log "$D/requests.jsonl" "$@"
  start_bg flask-hub "$PY" "$LAB_SRC/hub/flask_hub.py" $((PORT + 2)) "$D/flask.sqlite3"
  await hub 30 listens "$PORT"
  await flask-hub 60 listens $((PORT + 2))
  echo "hubs, http://127.0.0.1:$PORT/ and http://127.0.0.1:$((PORT + 2))/hub" ;;
stop) halt TERM hub flask-hub ;;
status) for n in hub flask-hub; do if running $n; then echo "$n runs as $(pid_of $n)"; fi; done ;;
env) [ ! -d "$D" ] || printf '%s\n' "HUB=http://127.0.0.1:$PORT/" "HUB_FLASK=http://127.0.0.1:$((PORT + 2))/hub" "HUB_PYTHON=$PY" ;;
check) "$PY" "$LAB_SRC/hub/check.py" "${2:-http://127.0.0.1:$PORT/}" $((PORT + 7)) ;;
wipe) halt TERM hub flask-hub; rm -rf "$D" ;;
*) usage ;;
esac
