#!/usr/bin/env bash
# Apache Kafka on loopback: KRaft, each node broker and controller. Broker I (from 1)
# listens on 19091 + I; with --secure also for SASL over TLS (PLAIN and SCRAM; user
# fresnel, password fresnel-pass) 100 above, and for TLS with client certificates 300
# above. Controllers use 200 above.
#   kafka.sh start [N] [--secure]    N brokers (as before, or 1); data of an earlier start are kept
#   kafka.sh stop | wipe | status | env | fetch
#   kafka.sh kill9 I | pause I | resume I | restart I
# KAFKA_HEAP is a broker's heap (384m); KAFKA_CONF more lines for its settings, read by
# start.
set -eu
. "$(dirname "$0")/common.sh"
V=4.3.1 PORT=$((19092 + LAB_SHIFT)) HEAP=${KAFKA_HEAP:-384m}
D=$LAB_DIR/kafka LIB=$LAB_CACHE/kafka-$V
mkdir -p "$D"
N= SECURE= ID=
[ ! -e "$D/state" ] || . "$D/state" # what the data were formatted for

fetch() {
  mvn -q -B -ntp -f "$LAB_SRC/kafka/pom.xml" -Dkafka.version="$V" -Dmaven.repo.local="$1.m2" \
    dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$1"
  local rc=$?; rm -rf "$1.m2"; return $rc
}
provision() {
  need mvn=maven openssl=openssl
  need_java 17 25 >/dev/null
  cached "kafka-$V" fetch
}
java() {
  exec "$(java_home 17 25)/bin/java" -XX:+UseSerialGC -XX:-UsePerfData -Xshare:auto -Djava.awt.headless=true \
    "-Dlog4j2.configurationFile=$LAB_SRC/kafka/log4j2.properties" -cp "$LIB/*" "$@"
}
ports() { local i s=; for i in $(seq "$N"); do s=$s,127.0.0.1:$((PORT + $1 + i - 1)); done; echo "${s#,}"; }
brokers() { local i; for i in $(seq "${N:-0}"); do echo "kafka$i"; done; }

# certificates: an authority, one server and one client; PEM, which Kafka reads as it is.
certificates() {
  local t=$D/tls name
  [ ! -e "$t/client.pem" ] || return 0
  mkdir -p "$t"
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=lab -keyout "$t/ca.key" -out "$t/ca.pem" 2>/dev/null
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' >"$t/extensions"
  for name in server client; do
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$t/$name.key" -out "$t/$name.csr" 2>/dev/null
    openssl x509 -req -in "$t/$name.csr" -CA "$t/ca.pem" -CAkey "$t/ca.key" -CAcreateserial -days 3650 -extfile "$t/extensions" -out "$t/$name.crt" 2>/dev/null
    cat "$t/$name.key" "$t/$name.crt" >"$t/$name.pem"
  done
}

settings() { # I
  local replicas=$((N < 3 ? N : 3)) least=$((N < 3 ? 1 : 2)) voters= i listeners
  for i in $(seq "$N"); do voters=$voters,$i@127.0.0.1:$((PORT + 200 + i - 1)); done
  listeners=PLAINTEXT://127.0.0.1:$((PORT + $1 - 1))
  [ -z "$SECURE" ] || listeners=$listeners,SASL_SSL://127.0.0.1:$((PORT + 100 + $1 - 1)),SSL://127.0.0.1:$((PORT + 300 + $1 - 1))
  cat <<C
process.roles=broker,controller
node.id=$1
controller.quorum.voters=${voters#,}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
listeners=$listeners,CONTROLLER://127.0.0.1:$((PORT + 200 + $1 - 1))
advertised.listeners=$listeners
log.dirs=$D/data-$1
auto.create.topics.enable=true
num.partitions=3
default.replication.factor=$replicas
min.insync.replicas=$least
offsets.topic.replication.factor=$replicas
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$least
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$least
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
C
  [ -z "$SECURE" ] || cat <<C
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_fresnel="fresnel-pass";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=$D/tls/server.pem
ssl.truststore.type=PEM
ssl.truststore.location=$D/tls/ca.pem
listener.name.ssl.ssl.client.auth=required
C
  printf '%s\n' "${KAFKA_CONF:-}"
}
format() { # I
  [ ! -e "$D/data-$1/meta.properties" ] || return 0
  local users=() m
  for m in 256 512; do users+=(--add-scram "SCRAM-SHA-$m=[name=fresnel,password=fresnel-pass]"); done
  (java -Xmx256m kafka.tools.StorageTool format -t "$ID" -c "$D/broker-$1.properties" "${users[@]}") >"$LAB_DIR/log/kafka-format-$1.log" 2>&1 ||
    { tail -5 "$LAB_DIR/log/kafka-format-$1.log" >&2; return 1; }
}
boot() { # I
  start_bg "kafka$1" bash -c "$(declare -f java java_home); LAB_SRC=$LAB_SRC LIB=$LIB; java \"\$@\"" _ \
    "-Xmx$HEAP" -Xms64m ${LAB_JVM:-} kafka.Kafka "$D/broker-$1.properties"
}
# A broker listens for clients only once the controller has let it in.
ready() { await "kafka$1" 60 listens $((PORT + $1 - 1)); }

start() {
  local a n=${N:-1} secure= i job jobs=()
  for a in "$@"; do case $a in --secure) secure=1 ;; [1-9]) n=$a ;; *) usage ;; esac; done
  [ -z "$N" ] || [ "$n" = "$N" ] || { echo "the data are of $N brokers: wipe first" >&2; exit 1; }
  for i in $(brokers); do ! running "$i" || [ "$secure" = "$SECURE" ] || { echo "Kafka runs${SECURE:+ with --secure}: stop it first" >&2; exit 1; }; done
  provision
  N=$n SECURE=$secure ID=${ID:-$(head -c16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d =)}
  printf '%s\n' "N=$N" "SECURE=$SECURE" "ID=$ID" >"$D/state"
  [ -z "$SECURE" ] || certificates
  for i in $(seq "$N"); do
    ! running "kafka$i" || continue
    free_port $((PORT + i - 1))
    settings "$i" >"$D/broker-$i.properties"
    format "$i" & jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job"; done
  for i in $(seq "$N"); do boot "$i"; done
  for i in $(seq "$N"); do ready "$i"; done
  echo "Kafka $V, $N broker(s), $(ports 0)"
}
environment() {
  [ -n "$N" ] || return 0
  echo "KAFKA=$(ports 0)"
  [ -z "$SECURE" ] || printf '%s\n' "KAFKA_SASL_SSL=$(ports 100)" "KAFKA_SSL=$(ports 300)" "KAFKA_CA=$D/tls/ca.pem" \
    "KAFKA_CLIENT_CERT=$D/tls/client.crt" "KAFKA_CLIENT_KEY=$D/tls/client.key"
}

case "${1:-}" in
fetch) provision ;;
start) shift; start "$@" ;;
stop) halt TERM $(brokers) ;;
status) for n in $(brokers); do if running "$n"; then echo "$n runs as $(pid_of "$n")"; else echo "$n has ended"; fi; done ;;
env) environment ;;
kill9) must_run "kafka${2:-}"; halt KILL "kafka$2" ;;
pause) must_run "kafka${2:-}"; kill -STOP "$(pid_of "kafka$2")" ;;
resume) must_run "kafka${2:-}"; kill -CONT "$(pid_of "kafka$2")" ;;
restart) halt TERM "kafka${2:?number of the broker}"; boot "$2"; ready "$2" ;;
wipe) halt TERM $(brokers); rm -rf "$D" ;;
*) usage ;;
esac
