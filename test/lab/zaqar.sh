#!/usr/bin/env bash
# OpenStack Zaqar on loopback, Debian's package, twice: on 28888 it believes
# X-Project-ID, on 28889 it wants tokens of keystone.sh. Both keep their messages in a
# Redis on 26399 and share queues by pre-signed URLs.
#   zaqar.sh start | stop | wipe | status | env | fetch
#   zaqar.sh pause | resume             both servers accept connections and say nothing
#   zaqar.sh redis stop | redis start   without its Redis a server hangs for minutes
set -eu
. "$(dirname "$0")/common.sh"
PORT=$((28888 + LAB_SHIFT)) REDIS=$((26399 + LAB_SHIFT)) KEYSTONE=http://127.0.0.1:$((25000 + LAB_SHIFT))/v3
D=$LAB_DIR/zaqar PY=/usr/bin/python3

provision() {
  need zaqar-server=zaqar-server redis-server=redis-server curl=curl
  "$PY" -c 'import redis, zaqarclient' 2>/dev/null || need no-such-python=python3-redis no-such-client=python3-zaqarclient ||
    "$PY" -c 'import redis, zaqarclient'
  # Debian leaves two scripts of the driver for Redis out of its package; without them
  # every POST of messages is answered 503.
  local to f
  to=$("$PY" -c 'import os, zaqar.storage.redis as m; print(os.path.dirname(m.__file__))')/scripts
  mkdir -p "$to"
  for f in "$LAB_SRC"/zaqar/*.lua; do [ -e "$to/${f##*/}" ] || cp "$f" "$to/"; done
}
settings() { # NAME PORT STRATEGY
  cat >"$D/$1.conf" <<C
[DEFAULT]
admin_mode = true
unreliable = true
auth_strategy = $3
pooling = false
[drivers]
transport = wsgi
message_store = redis
management_store = redis
[drivers:management_store:redis]
uri = redis://127.0.0.1:$REDIS?dbid=1
[drivers:message_store:redis]
uri = redis://127.0.0.1:$REDIS?dbid=2
[drivers:transport:wsgi]
bind = 127.0.0.1
port = $2
[signed_url]
secret_key = lab-secret-key
[keystone_authtoken]
www_authenticate_uri = $KEYSTONE
auth_url = $KEYSTONE
auth_type = password
username = zaqar
password = zaqar-pass
project_name = service
user_domain_name = Default
project_domain_name = Default
C
}
redis() {
  start_bg redis redis-server --port "$REDIS" --bind 127.0.0.1 --save '' --appendonly no --dir "$D" --daemonize no
  await redis 20 listens "$REDIS"
}
start() {
  local n
  provision
  mkdir -p "$D"
  running redis || free_port "$REDIS"
  running zaqar || free_port "$PORT"
  settings zaqar "$PORT" ""
  settings zaqar-keystone $((PORT + 1)) keystone
  redis
  for n in zaqar zaqar-keystone; do start_bg $n "$PY" "$(command -v zaqar-server)" --config-file "$D/$n.conf"; done
  await zaqar 60 listens "$PORT"
  await zaqar-keystone 60 listens $((PORT + 1))
  echo "Zaqar, http://127.0.0.1:$PORT, with Keystone http://127.0.0.1:$((PORT + 1))"
}
all() { local n; for n in zaqar zaqar-keystone; do must_run $n; kill "-$1" "$(pid_of $n)"; done; }

case "${1:-} ${2:-}" in
"fetch ") provision ;;
"start ") start ;;
"stop ") halt TERM zaqar zaqar-keystone redis ;;
"status ") for n in zaqar zaqar-keystone redis; do if running $n; then echo "$n runs as $(pid_of $n)"; fi; done ;;
"env ") [ ! -e "$D/zaqar.conf" ] || printf '%s\n' "ZAQAR=http://127.0.0.1:$PORT" "ZAQAR_KEYSTONE=http://127.0.0.1:$((PORT + 1))" "ZAQAR_PYTHON=$PY" ;;
"pause ") all STOP ;;
"resume ") all CONT ;;
"redis stop") halt TERM redis ;;
"redis start") redis ;;
"wipe ") halt TERM zaqar zaqar-keystone redis; rm -rf "$D" ;;
*) usage ;;
esac
