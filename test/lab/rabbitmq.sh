#!/usr/bin/env bash
# RabbitMQ on loopback: one node, Debian's package. AMQP on 25672, AMQP over TLS on
# 25671, where a client certificate logs in as the user of its name; user fresnel,
# password fresnel-pass, vhost /.
#   rabbitmq.sh start | stop | wipe | status | env | fetch
#   rabbitmq.sh kill9 | pause | resume | restart
#   rabbitmq.sh ctl ARGUMENTS...    rabbitmqctl, as in: ctl list_queues name messages
set -eu
. "$(dirname "$0")/common.sh"
PORT=$((25672 + LAB_SHIFT)) TLS=$((25671 + LAB_SHIFT)) DIST=$((25673 + LAB_SHIFT)) EPMD=$((24369 + LAB_SHIFT))
D=$LAB_DIR/rabbitmq
OWNER=9203 # no account: the server needs none

# Debian starts a server at installation where it can; ours is none of it.
provision() {
  [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] && return 0
  RUNLEVEL=1 need no-such-rabbitmq=rabbitmq-server openssl=openssl || true
  [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || { echo "the lab needs rabbitmq-server" >&2; return 1; }
}

certificates() { # as those of kafka.sh; the client's name is the user's
  local t=$D/tls name
  [ ! -e "$t/client.crt" ] || return 0
  mkdir -p "$t"
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=lab -keyout "$t/ca.key" -out "$t/ca.pem" 2>/dev/null
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' >"$t/extensions"
  for name in server client; do
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$([ $name = client ] && echo fresnel || echo localhost)" -keyout "$t/$name.key" -out "$t/$name.csr" 2>/dev/null
    openssl x509 -req -in "$t/$name.csr" -CA "$t/ca.pem" -CAkey "$t/ca.key" -CAcreateserial -days 3650 -extfile "$t/extensions" -out "$t/$name.crt" 2>/dev/null
  done
  chmod a+r "$t"/*
}
settings() {
  cat >"$D/rabbitmq.conf" <<C
listeners.tcp.1 = 127.0.0.1:$PORT
listeners.ssl.1 = 127.0.0.1:$TLS
ssl_options.cacertfile = $D/tls/ca.pem
ssl_options.certfile = $D/tls/server.crt
ssl_options.keyfile = $D/tls/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
default_user = fresnel
default_pass = fresnel-pass
log.console = true
log.file = false
log.console.level = warning
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
C
  echo '[rabbitmq_auth_mechanism_ssl].' >"$D/enabled_plugins"
}
# as_server COMMAND...: with the environment of the node, as its user.
as_server() {
  local who=()
  [ "$(id -u)" != 0 ] || who=(setpriv --reuid "$OWNER" --regid "$OWNER" --clear-groups)
  HOME=$D ERL_EPMD_PORT=$EPMD ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_NODENAME=lab@localhost RABBITMQ_MNESIA_BASE=$D/mnesia \
    RABBITMQ_LOG_BASE=$D/log RABBITMQ_CONFIG_FILE=$D/rabbitmq.conf RABBITMQ_ENABLED_PLUGINS_FILE=$D/enabled_plugins \
    RABBITMQ_PID_FILE=$D/pid RABBITMQ_DIST_PORT=$DIST RABBITMQ_CONF_ENV_FILE=/dev/null \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}" \
    "${who[@]}" "$@"
}
ctl() { as_server /usr/lib/rabbitmq/bin/rabbitmqctl -n lab@localhost "$@"; }
boot() { start_bg rabbitmq bash -c "$(declare -f as_server); $(declare -p D EPMD DIST OWNER); as_server /usr/lib/rabbitmq/bin/rabbitmq-server"; }
ready() { await rabbitmq 120 listens "$PORT" && await rabbitmq 60 listens "$TLS"; }
# node: the Erlang machine, which is what a fault is done to.
node() { cat "$D/pid"; }
stop() {
  ! running rabbitmq || ctl shutdown --timeout 30 >/dev/null 2>&1 || true
  halt TERM rabbitmq
  ERL_EPMD_PORT=$EPMD epmd -kill >/dev/null 2>&1 || true
}

case "${1:-}" in
fetch) provision ;;
start)
  provision
  running rabbitmq || free_port "$PORT"
  mkdir -p "$D/mnesia" "$D/log"
  certificates
  settings
  [ "$(id -u)" != 0 ] || chown -R "$OWNER:$OWNER" "$D"
  boot
  ready
  echo "RabbitMQ, 127.0.0.1:$PORT" ;;
stop) stop ;;
status) if running rabbitmq; then echo "rabbitmq runs as $(pid_of rabbitmq)"; fi ;;
env)
  [ -e "$D/rabbitmq.conf" ] || exit 0
  printf '%s\n' "RABBITMQ=127.0.0.1:$PORT" "RABBITMQ_TLS=127.0.0.1:$TLS" "RABBITMQ_CA=$D/tls/ca.pem" \
    "RABBITMQ_CLIENT_CERT=$D/tls/client.crt" "RABBITMQ_CLIENT_KEY=$D/tls/client.key" ;;
kill9) must_run rabbitmq; kill -9 "$(node)"; halt KILL rabbitmq ;;
pause) must_run rabbitmq; kill -STOP "$(node)" ;;
resume) must_run rabbitmq; kill -CONT "$(node)" ;;
restart) stop; boot; ready ;;
ctl) must_run rabbitmq; shift; ctl "$@" ;;
wipe) stop; rm -rf "$D" ;;
*) usage ;;
esac
