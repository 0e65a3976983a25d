# What the stories share: a Chancery of their own on a temporary directory, and how to ask it. Each story sources this file.
#
# Needs bash, curl, coreutils and python3. CHANCERY names the program, if it is not on the path.
set -euo pipefail
CHANCERY=${CHANCERY:-chancery}
WORK=$(mktemp -d)
CHILDREN=()

tell() { printf '\n== %s\n' "$*"; }

fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

cleanup() {
    local code=$?
    for pid in "${CHILDREN[@]}"; do
        kill "$pid" 2>/dev/null && wait "$pid" || true
    done
    if ((code)); then tail -n 40 "$WORK"/*.log >&2 || true; fi
    rm -rf "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# eventually WHAT COMMAND...: runs the command until it succeeds, for a minute at most.
eventually() {
    local what=$1 deadline=$((SECONDS + 60))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || fail "not within a minute: $what"
        sleep 0.1
    done
}

# serve PATH: starts Chancery on ports that the system chooses. Sets XDS and ADMIN.
serve() {
    : >"$WORK/said"
    "$CHANCERY" serve --listen 127.0.0.1:0 --admin 127.0.0.1:0 "$1" >"$WORK/said" 2>"$WORK/chancery.log" &
    CHILDREN+=("$!")
    # The line after those with the ports shows that they are whole.
    eventually "Chancery's ports" grep -q '^watching ' "$WORK/said"
    XDS=$(sed -n 's/^listening for xDS on //p' "$WORK/said")
    ADMIN=$(sed -n 's/^admin on //p' "$WORK/said")
    eventually "a first good topology" ready
    echo "Chancery serves $1 on $XDS, with its admin port on $ADMIN"
}

get() { curl -fsS --noproxy '*' --max-time 60 "$ADMIN$1"; }

ready() { get /readyz >/dev/null 2>&1; }

# status CONDITION: whether a Python expression holds of /status.
status() {
    get /status | python3 -c 'import json, sys; status = json.load(sys.stdin); sys.exit(not eval(sys.argv[1]))' "$1"
}

# findings: those of the last verdict, a line each.
findings() {
    get /status | python3 -c 'import json, sys
for f in json.load(sys.stdin)["findings"]: print("    {file}:{line}:{column}: {level}[{code}]: {message}".format(**f))'
}

# serves TEXT: whether the text is somewhere in what is served.
serves() { [[ $(get /config_dump) == *"$1"* ]]; }

# taken REVISION TEXT: waits for the verdict that makes this the served revision, and sees the text in it.
taken() {
    eventually "revision $1" status "status['revision'] == $1 and status['verdict'] == 'applied'"
    serves "$2" || fail "revision $1 has no $2"
    echo "revision $1 serves $2"
}

# refused REVISION TEXT: waits for the refusal of an edit, and sees that the last good revision is served as before.
refused() {
    eventually "a refusal" status "status['verdict'] == 'rejected'"
    findings
    status "status['revision'] == $1" || fail "the revision is not $1"
    ready || fail "not ready"
    serves "$2" || fail "$2 is gone"
    echo "refused; revision $1 still serves $2"
}
