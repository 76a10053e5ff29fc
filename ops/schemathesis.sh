#!/usr/bin/env bash
# Lets schemathesis (PyPI) search the API for answers that its OpenAPI document does not describe, and for 5xx.
#
#   ops/schemathesis.sh [EXAMPLES]     examples per operation, by default 100
#
# Needs python3 with venv and access to PyPI; starts a server of its own on free ports, in memory, and ends it. Not a part
# of ./test, which installs nothing from PyPI. A finding is printed with the curl command that repeats it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
examples=${1:-100}
work=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

cargo build --quiet --locked --package job-server
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "schemathesis>=4,<5"

"${CARGO_TARGET_DIR:-target}/debug/job-server" serve --store memory --queue memory \
    --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --log-format json 2>"$work/log" &
server=$!
for _ in $(seq 100); do
    address=$(sed -n 's|.*the API is at \(http://[0-9.:]*\)/.*|\1|p' "$work/log")
    [ -z "$address" ] || break
    sleep 0.1
done
# That a request is refused which the document allows, or accepted which it does not, is no finding: the type of a health
# check is read leniently by contract, and no schema says what RSQL is.
# It keeps what it found in the directory it runs in.
cd "$work"
venv/bin/schemathesis run "$address/openapi.yaml" --url "$address" \
    --max-examples "$examples" --workers 2 --request-timeout 90 --phases examples,coverage,fuzzing \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,unsupported_method \
    --seed 1 --continue-on-failure
