#!/bin/sh
# Random passwords into ./secrets; what is there stays. Needs mosquitto_passwd (Debian: mosquitto).
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
for name in postgres-password monitor-password station-password grafana-password; do
  [ -e "secrets/$name" ] || head -c 24 /dev/urandom | base64 | tr '+/' '-_' > "secrets/$name"
done
# `edge-sdk monitor key add prometheus` gives the key that Prometheus sends; put it here.
[ -e secrets/metrics-key ] || : > secrets/metrics-key
rm -f secrets/mosquitto-passwords
: > secrets/mosquitto-passwords
for user in station monitor; do
  mosquitto_passwd -b secrets/mosquitto-passwords "$user" "$(cat "secrets/$user-password")"
done
chmod 0644 secrets/*   # the containers' users are others; the directory itself is closed
chmod 0700 secrets
