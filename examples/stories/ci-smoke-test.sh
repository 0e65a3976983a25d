#!/usr/bin/env bash
# A smoke test for CI: a change goes live only if it passes the check, and the job is green only if the change was taken.
# With ENVOY=/path/to/envoy, two real proxies (one per protocol) must take it as well.
source "$(dirname "$0")/common.sh"

live=$WORK/live/topology.yaml
mkdir "$WORK/live"

# candidate FILE KEY ADDRESS: what a pull request proposes.
candidate() {
    cat >"$1" <<END
version: 1
listeners:
- name: web
  address: 127.0.0.1:0
  routes:
  - route: app
clusters:
- name: app
  $2: ["$3:8080"]
END
}

# put FILE: makes it the live one, in one step.
put() {
    install -m 644 "$1" "$live.new"
    mv "$live.new" "$live"
}

# reload: makes Chancery read the files now. Says what came of it by its exit code, and shows the findings of a refusal.
reload() {
    curl -fsS --noproxy '*' --max-time 60 -X POST -o "$WORK/answer" "$ADMIN/reload" || {
        local code=$?
        findings
        return "$code"
    }
}

# deploy FILE: the job. Nothing is put in place that does not pass.
deploy() {
    "$CHANCERY" check --strict "$1" || return
    put "$1"
    reload || return
    if ((${#proxies[@]})); then
        eventually "every proxy takes the change" synced
        echo "every proxy took the change: ${#proxies[@]}"
    fi
}

# synced: whether all proxies are there, were sent the newest revision, and accepted all of it.
synced() {
    status "len(status['clients']) == ${#proxies[@]} and all(
        client['revision'] == status['revision'] and client['kinds']
        and all(kind['state'] == 'synced' for kind in client['kinds'].values())
        for client in status['clients'])"
}

# join NAME FLAG...: starts an Envoy with the bootstrap that Chancery prints for it.
proxies=()
join() {
    "$CHANCERY" bootstrap --id "$1" --cluster web --xds "$XDS" --admin 127.0.0.1:0 "${@:2}" >"$WORK/$1.yaml"
    "$ENVOY" --use-dynamic-base-id --concurrency 1 -c "$WORK/$1.yaml" --admin-address-path "$WORK/$1.admin" \
        >"$WORK/$1.log" 2>&1 &
    CHILDREN+=("$!")
    proxies+=("$1")
}

# uses NAME TEXT: whether a proxy's own list of clusters holds the text.
uses() { [[ $(curl -fsS --noproxy '*' --max-time 60 "http://$(<"$WORK/$1.admin")/clusters") == *"$2"* ]]; }

# used ADDRESS: sees that every proxy uses it.
used() {
    local proxy
    for proxy in "${proxies[@]}"; do
        eventually "$proxy uses $1" uses "$proxy" "$1"
        echo "$proxy uses $1"
    done
}

candidate "$live" endpoints 10.0.0.1
serve "$WORK/live"
if [[ ${ENVOY:-} ]]; then
    join sotw --sotw
    join delta
    eventually "both proxies" synced
fi
used 10.0.0.1

tell "a good change"
candidate "$WORK/candidate.yaml" endpoints 10.0.0.2
deploy "$WORK/candidate.yaml" || fail "a good change is not deployed"
used 10.0.0.2
good=$(get /config_dump)
[[ $good == *10.0.0.2* ]] || fail "10.0.0.2 is not served"

tell "a bad change does not pass the check, and is not put in place"
candidate "$WORK/candidate.yaml" endpionts 10.0.0.3
if deploy "$WORK/candidate.yaml"; then fail "a bad change is deployed"; else echo "exit code $?"; fi
if grep endpionts "$live"; then fail "the bad change is in place"; fi

tell "one that is put in place past the check is refused, and the last good one keeps serving"
put "$WORK/candidate.yaml"
if reload; then fail "a bad change is taken"; else echo "exit code $?"; fi
echo "/readyz says $(curl -sS --noproxy '*' -o "$WORK/answer" -w '%{http_code}' "$ADMIN/readyz")"
ready || fail "not ready"
[[ $(get /config_dump) == "$good" ]] || fail "/config_dump is not as before"
echo "/config_dump is as before"
used 10.0.0.2

tell "the next good change is taken"
candidate "$WORK/candidate.yaml" endpoints 10.0.0.4
deploy "$WORK/candidate.yaml" || fail "the good change is not deployed"
used 10.0.0.4
