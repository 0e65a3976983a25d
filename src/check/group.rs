//! The resources of one node group after the other.

use std::collections::BTreeMap;

use crate::diagnostic::{Finding, Findings, Level, Span};
use crate::topology::{Membership, NodeGroup};

/// Looks at each node group's resources as a whole. The same finding in several groups is one finding; it says in which
/// groups, unless it is in all of them.
pub(super) fn each<T: Copy>(
    resources: &[(T, &Membership)],
    groups: &[NodeGroup],
    findings: &mut Findings,
    check: impl Fn(&[T], &NodeGroup, &mut Findings),
) {
    let mut all: Vec<(Finding, Vec<usize>)> = Vec::new();
    let mut known: BTreeMap<(Option<Span>, &'static str, String, Level), usize> = BTreeMap::new();
    for (position, group) in groups.iter().enumerate() {
        // What is for no group is so by a mistake that was reported, and is not to be missed besides.
        let members = resources.iter().filter(|(_, groups)| groups.contains(position) || groups.is_empty());
        let members: Vec<T> = members.map(|(resource, _)| *resource).collect();
        let mut own = Findings::new();
        check(&members, group, &mut own);
        for finding in own.as_slice() {
            let index = *known
                .entry((finding.span, finding.code, finding.message.clone(), finding.level))
                .or_insert_with(|| {
                    all.push((finding.clone(), Vec::new()));
                    all.len() - 1
                });
            let at = &mut all[index].1;
            if at.last() != Some(&position) {
                at.push(position);
            }
        }
    }
    for (mut finding, at) in all {
        if at.len() < groups.len() {
            let names: Vec<String> = at.iter().map(|group| format!("`{}`", groups[*group].name)).collect();
            let noun = if names.len() == 1 { "node group" } else { "node groups" };
            finding.message = format!("{} in the {noun} {}", finding.message, names.join(", "));
        }
        findings.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Selector, StaticResources};

    #[test]
    fn a_finding_says_in_which_groups_it_is() {
        let groups = ["one", "two", "three"].map(|name| NodeGroup {
            name: name.into(),
            selector: Selector::default(),
            static_resources: StaticResources::default(),
        });
        let (all, some, none) = (Membership::all(3), Membership::all(2), Membership::default());
        let mut findings = Findings::new();
        each(&[("a", &all), ("b", &some), ("c", &none)], &groups, &mut findings, |members, _, findings| {
            for member in members {
                findings.push(Finding::error("code", Span::default(), "", format!("{member} is wrong")));
            }
        });
        let messages: Vec<_> = findings.as_slice().iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(messages, ["a is wrong", "b is wrong in the node groups `one`, `two`", "c is wrong"]);
    }
}
