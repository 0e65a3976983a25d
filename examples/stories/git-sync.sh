#!/usr/bin/env bash
# A checkout that git-sync keeps: each commit is a worktree of its own, and one link is swapped to the newest. A commit that
# changes several files is therefore one edit: what is half old and half new is never read.
source "$(dirname "$0")/common.sh"

root=$WORK/git

# sync_to COMMIT CLUSTER ROUTE ADDRESS: what git-sync does once it has fetched a commit. ROUTE is the cluster that is routed to.
sync_to() {
    local old
    old=$(readlink "$root/current" || true)
    local new=.worktrees/$1
    mkdir -p "$root/$new"
    cat >"$root/$new/listeners.yaml" <<END
version: 1
listeners:
- name: web
  address: 127.0.0.1:10000
  routes:
  - route: $3
END
    cat >"$root/$new/clusters.yaml" <<END
version: 1
clusters:
- name: $2
  endpoints: ["$4:8080"]
END
    ln -s "$new" "$root/next"
    mv -T "$root/next" "$root/current"
    if [[ $old ]]; then rm -r "${root:?}/$old"; fi
}

sync_to 5f1c2aa app-v1 app-v1 10.0.0.1
serve "$root/current"
taken 1 app-v1

tell "a commit renames the cluster, in both files"
sync_to 9b40e17 app-v2 app-v2 10.0.0.2
taken 2 app-v2
! serves app-v1 || fail "app-v1 is still served"

tell "and another"
sync_to c83d6f0 app-v3 app-v3 10.0.0.3
taken 3 app-v3
rejected=$(get /metrics | sed -n 's/^chancery_reloads_total{result="rejected"} //p')
[[ $rejected == 0 ]] || fail "a half of a commit was read: $rejected rejections"
echo "no half of a commit was ever read: $rejected rejections"

tell "a commit with a dangling name is refused as a whole"
sync_to 0d9e7b4 app-v4 app-v3 10.0.0.4
refused 3 app-v3

tell "the next commit mends it"
sync_to 77ac210 app-v5 app-v5 10.0.0.5
taken 4 app-v5
