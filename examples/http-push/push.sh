#!/usr/bin/env bash
# Pushes one alert in soard's own shape. An answer of 2xx means that it is on disk.
set -euo pipefail
: "${SOARD_PUSH_TOKEN:?set it to the token that the daemon was started with}"

curl --silent --show-error --fail-with-body \
  --header "Authorization: Bearer $SOARD_PUSH_TOKEN" \
  --header "Content-Type: application/json" \
  --header "Idempotency-Key: example-1" \
  --data @- http://127.0.0.1:8477/v1/sources/push <<'JSON'
{
  "title": "Somebody signed in from two countries at once",
  "kind": "ImpossibleTravel",
  "severity": "medium",
  "entities": { "account": [{ "name": "j.doe" }], "ip": [{ "address": "203.0.113.9" }] }
}
JSON
