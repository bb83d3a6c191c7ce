#!/usr/bin/env bash
# A mail server on loopback (aiosmtpd): 20587 offers STARTTLS and wants a log-in after
# it, 20588 speaks TLS from the first byte, 20589 takes everything in the clear. User
# fresnel, password fresnel-pass; nobody@ is refused, and so are mails over 128 KiB.
# What was accepted lies in a Maildir.
#   smtp.sh start | stop | wipe | status | env | fetch
#   smtp.sh pause | resume
set -eu
. "$(dirname "$0")/common.sh"
PORT=$((20587 + LAB_SHIFT))
D=$LAB_DIR/smtp

case "${1:-}" in
fetch) need openssl=openssl; python_with smtp aiosmtpd==1.4.6 ;;
start)
  need openssl=openssl
  python_with smtp aiosmtpd==1.4.6
  running smtp || free_port "$PORT"
  mkdir -p "$D/tls"
  [ -e "$D/tls/server.crt" ] || openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$D/tls/server.key" -out "$D/tls/server.crt" 2>/dev/null
  start_bg smtp "$LAB_CACHE/python-smtp/bin/python" "$LAB_SRC/smtp/server.py" "$PORT" "$D"
  await smtp 30 listens $((PORT + 2))
  echo "SMTP, 127.0.0.1:$PORT" ;;
stop) halt TERM smtp ;;
status) if running smtp; then echo "smtp runs as $(pid_of smtp)"; fi ;;
env)
  [ -e "$D/tls/server.crt" ] || exit 0
  printf '%s\n' "SMTP=127.0.0.1:$PORT" "SMTPS=127.0.0.1:$((PORT + 1))" "SMTP_CLEAR=127.0.0.1:$((PORT + 2))" \
    "SMTP_CA=$D/tls/server.crt" "SMTP_MAIL=$D/mail" ;;
pause) must_run smtp; kill -STOP "$(pid_of smtp)" ;;
resume) must_run smtp; kill -CONT "$(pid_of smtp)" ;;
wipe) halt TERM smtp; rm -rf "$D" ;;
*) usage ;;
esac
