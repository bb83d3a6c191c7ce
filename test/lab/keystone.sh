#!/usr/bin/env bash
# OpenStack Keystone on loopback: Debian's package under uwsgi, on sqlite, port 25000.
# Users have their names and -pass as password, domain Default: admin (project admin),
# demo (project demo), other (project other), zaqar (project service).
#   keystone.sh start | stop | wipe | status | env | fetch
#   keystone.sh pause | resume
# KEYSTONE_TOKEN_TTL is how long tokens live, in seconds (3600); read by start.
set -eu
. "$(dirname "$0")/common.sh"
PORT=$((25000 + LAB_SHIFT)) URL=http://127.0.0.1:$((25000 + LAB_SHIFT))/v3
D=$LAB_DIR/keystone PY=/usr/bin/python3

provision() { need keystone-manage=keystone uwsgi_python3=uwsgi-plugin-python3 curl=curl; }
settings() {
  cat >"$D/keystone.conf" <<C
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///$D/keystone.db
sqlite_synchronous = false
[fernet_tokens]
key_repository = $D/fernet-keys
[credential]
key_repository = $D/credential-keys
[token]
provider = fernet
expiration = ${KEYSTONE_TOKEN_TTL:-3600}
[security_compliance]
password_hash_rounds = 4
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memory
C
}
manage() { keystone-manage --config-file "$D/keystone.conf" "$@" >>"$LAB_DIR/log/keystone-manage.log" 2>&1; }
answers() { curl -sf -o /dev/null --max-time 5 "$URL"; }
start() {
  provision
  mkdir -p "$D"
  running keystone || free_port "$PORT"
  settings
  if [ ! -e "$D/seeded" ]; then
    rm -f "$D/keystone.db"
    manage db_sync
    "$PY" -c 'import sqlite3,sys; sqlite3.connect(sys.argv[1]).execute("PRAGMA journal_mode=WAL")' "$D/keystone.db"
    manage fernet_setup --keystone-user "$(id -un)" --keystone-group "$(id -gn)"
    manage credential_setup --keystone-user "$(id -un)" --keystone-group "$(id -gn)"
    manage bootstrap --bootstrap-password admin-pass --bootstrap-region-id RegionOne \
      --bootstrap-public-url "$URL/" --bootstrap-internal-url "$URL/" --bootstrap-admin-url "$URL/"
  fi
  OS_KEYSTONE_CONFIG_DIR=$D start_bg keystone uwsgi_python3 --plugin python3 --http-socket "127.0.0.1:$PORT" --master --lazy-apps \
    --enable-threads --processes 1 --die-on-term --add-header 'Connection: close' --buffer-size 65535 --wsgi-file "$(command -v keystone-wsgi-public)"
  await keystone 120 answers
  [ -e "$D/seeded" ] || { "$PY" -W ignore "$LAB_SRC/keystone/seed.py" "$URL" >"$D/projects"; touch "$D/seeded"; }
  echo "Keystone, $URL"
}

case "${1:-}" in
fetch) provision ;;
start) start ;;
stop) halt TERM keystone ;;
status) if running keystone; then echo "keystone runs as $(pid_of keystone)"; fi ;;
env) # the ids of projects too: KEYSTONE_DEMO, KEYSTONE_OTHER
  [ -e "$D/seeded" ] || exit 0
  echo "KEYSTONE=$URL"; cat "$D/projects" ;;
pause) must_run keystone; kill -STOP -- "-$(pid_of keystone)" ;;
resume) must_run keystone; kill -CONT -- "-$(pid_of keystone)" ;;
wipe) halt TERM keystone; rm -rf "$D" ;;
*) usage ;;
esac
