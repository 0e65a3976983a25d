//! How much one edit may remove before someone has to confirm it.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Finding, Findings, Span};
use crate::envoy::Kind;
use crate::snapshot::{Change, Changes, Snapshot};

/// As many digits of a digest are enough to confirm it. More in a row would be masked in findings, as a key may look the same.
const SHORT: usize = 16;

/// As many names are listed in a finding.
const LISTED: usize = 5;

/// The limit, and what was confirmed.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// The largest share of the resources of a type in a group that an edit may remove, in percent.
    most: Option<u8>,
    /// Digests of what the operator wants, however much it removes, or how they begin.
    confirmed: BTreeSet<String>,
    /// The digest of what was refused last, until other content is judged.
    held: Option<String>,
}

impl Guard {
    pub(super) fn limit(&mut self, percent: u8) {
        self.most = Some(percent);
    }

    pub(super) fn confirm(&mut self, digest: String) {
        if digest.len() >= SHORT {
            self.confirmed.insert(digest);
        }
    }

    /// Confirmations count for the content that is found when they are given.
    pub(super) fn forget(&mut self) {
        self.confirmed.clear();
    }

    /// Whether what was refused has been confirmed since.
    pub(super) fn releases(&self) -> bool {
        self.held.as_ref().is_some_and(|held| self.is_confirmed(held))
    }

    fn is_confirmed(&self, digest: &str) -> bool {
        self.confirmed.iter().any(|confirmed| digest.starts_with(confirmed.as_str()))
    }

    /// What the files of this digest remove from `previous` beyond the limit, without being confirmed.
    pub(super) fn judge(&mut self, previous: Option<&Snapshot>, changes: Option<&Changes>, digest: &str) -> Findings {
        let mut findings = Findings::new();
        if let (Some(most), Some(previous), Some(changes)) = (self.most, previous, changes)
            && !self.is_confirmed(digest)
        {
            for finding in excesses(most, previous, changes, digest) {
                findings.push(finding);
            }
        }
        self.held = findings.has_errors().then(|| digest.to_owned());
        findings
    }
}

/// A finding for each type of each group that would lose too much.
fn excesses(most: u8, previous: &Snapshot, changes: &Changes, digest: &str) -> Vec<Finding> {
    let mut removed: BTreeMap<(&str, Kind), Vec<&str>> = BTreeMap::new();
    for (group, kind, name, _) in changes.iter().filter(|(_, _, _, change)| *change == Change::Removed) {
        removed.entry((group, kind)).or_default().push(name);
    }
    let excess = |((group, kind), names): ((&str, Kind), Vec<&str>)| {
        let all = previous.group(group).map_or(0, |group| group.resources(kind).len());
        if names.len() * 100 <= all * usize::from(most) {
            return None;
        }
        let listed = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let rest = if names.len() > LISTED { format!(" and {} more", names.len() - LISTED) } else { String::new() };
        let message = format!(
            "this edit removes {} of {all} {kind} resources of node group `{group}`, and at most {most}% may go at once: \
             {listed}{rest}",
            names.len(),
        );
        let digest = &digest[..digest.len().min(SHORT)];
        let help = format!("if that is meant, confirm it on the admin port: POST /reload?confirm={digest}");
        let finding = Finding::error("too-many-removed", Span::default(), "", message).help(help);
        Some(Finding { span: None, ..finding })
    };
    removed.into_iter().filter_map(excess).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{DEFAULT_GROUP, Origin, Resource, Selectors, Traits};

    /// A snapshot with these clusters and one listener.
    fn snapshot(clusters: &[&str], previous: Option<&Snapshot>) -> (Snapshot, Changes) {
        let resource = |kind: Kind, name: &str| {
            Resource::new(kind, name, b"", Origin { file: "t".into(), line: 1, column: 1 }, Traits::default())
        };
        let clusters = clusters.iter().map(|name| resource(Kind::Cluster, name));
        let all = clusters.chain([resource(Kind::Listener, "l")]).collect();
        Snapshot::next(previous, BTreeMap::from([(DEFAULT_GROUP.into(), all)]), Selectors::default()).unwrap()
    }

    #[test]
    fn more_than_the_share_is_too_much_and_the_share_is_not() {
        let (old, _) = snapshot(&["a", "b", "c", "d"], None);
        let table: [(&[&str], u8, usize); 8] = [
            (&["a", "b"], 50, 0),
            (&["a", "b"], 49, 1),
            (&["a"], 50, 1),
            (&["a"], 75, 0),
            (&["a", "b", "c", "d", "e"], 0, 0),
            (&["a", "b", "c", "e"], 0, 1),
            (&[], 99, 1),
            (&[], 100, 0),
        ];
        for (clusters, most, expected) in table {
            let (_, changes) = snapshot(clusters, Some(&old));
            let findings = excesses(most, &old, &changes, "D");
            assert_eq!(findings.len(), expected, "{clusters:?} {most}: {findings:?}");
        }
        let (_, changes) = snapshot(&["a"], Some(&old));
        let finding = &excesses(50, &old, &changes, "D")[0];
        let message = "this edit removes 3 of 4 CDS resources of node group `default`, and at most 50% may go at once: `b`, \
                       `c`, `d`";
        assert_eq!(finding.message, message);
        assert!(finding.help.as_ref().unwrap().ends_with("POST /reload?confirm=D"), "{finding:?}");
    }

    #[test]
    fn a_group_that_goes_takes_all_it_has_with_it() {
        let (old, _) = snapshot(&["a", "b", "c", "d", "e", "f"], None);
        let renamed = BTreeMap::from([("other".into(), Vec::<Resource>::new())]);
        let (_, changes) = Snapshot::next(Some(&old), renamed, Selectors::default()).unwrap();
        let findings = excesses(99, &old, &changes, "D");
        assert_eq!(findings.len(), 2, "clusters and listeners");
        assert!(findings[0].message.ends_with("`d`, `e` and 1 more"), "{findings:?}");
    }

    #[test]
    fn only_what_was_confirmed_passes_and_only_at_once() {
        let (old, _) = snapshot(&["a", "b"], None);
        let (_, changes) = snapshot(&[], Some(&old));
        let mut guard = Guard::default();
        let (wanted, other) = ("d".repeat(64), "e".repeat(64));
        assert!(guard.judge(Some(&old), Some(&changes), &wanted).is_empty(), "there is no limit");
        guard.limit(10);
        assert!(guard.judge(None, Some(&changes), &wanted).is_empty(), "there is nothing to remove from");
        assert!(guard.judge(Some(&old), Some(&changes), &wanted).has_errors());
        guard.confirm(other);
        guard.confirm("d".repeat(15));
        assert!(!guard.releases());
        assert!(guard.judge(Some(&old), Some(&changes), &wanted).has_errors());
        guard.confirm(wanted[..16].to_owned());
        assert!(guard.releases());
        assert!(guard.judge(Some(&old), Some(&changes), &wanted).is_empty());
        assert!(!guard.releases(), "it is not held any more");
        guard.forget();
        assert!(guard.judge(Some(&old), Some(&changes), &wanted).has_errors());
    }
}
