#!/bin/sh
# Pushes an alert to the daemon that runs on examples/approvals. SOARD_PUSH_TOKEN is the token that the daemon was started with.
set -eu
curl --silent --show-error --fail-with-body http://127.0.0.1:8477/v1/sources/push \
  --header "Authorization: Bearer $SOARD_PUSH_TOKEN" \
  --header "Content-Type: application/json" \
  --data '{"external_id": "r-1", "kind": "Ransom.Generic", "title": "Files were encrypted", "severity": "high",
           "entities": {"host": [{"name": "web-01"}]}}'
