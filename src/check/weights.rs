//! Weighted clusters that no request could be spread over.

use super::site::{Site, steps};
use crate::diagnostic::Findings;
use crate::envoy::field;

/// Envoy adds the weights up in 32 bits.
const MOST: u64 = u32::MAX as u64;

pub(super) fn check(site: &Site<'_>, findings: &mut Findings) {
    if !site.is_whole() {
        return;
    }
    let clusters: Vec<_> = field::messages(site.message, "clusters").collect();
    let mut total = 0;
    let mut missing = false;
    for (index, cluster) in clusters.iter().enumerate() {
        if field::message(cluster, "weight").is_none() {
            missing = true;
            let text = "this weighted cluster has no `weight`";
            findings.push(
                site.error("weights", steps!["clusters", index], text)
                    .help("give it a `weight`, or 0 if it is to get no requests"),
            );
        }
        total += field::wrapped(cluster, "weight").unwrap_or_default();
    }
    if missing || clusters.is_empty() {
        return;
    }
    if total == 0 {
        let text = "the weights of the weighted clusters add up to 0";
        findings.push(site.error("weights", steps![], text).help("give at least one of them a `weight` above 0"));
    } else if total > MOST {
        let text = format!("the weights of the weighted clusters add up to {total}, more than {MOST}");
        findings.push(site.error("weights", steps![], text).help("only their ratio counts: use smaller ones"));
    } else if total != 100 && clusters.len() > 1 {
        let text =
            format!("the weights of the weighted clusters add up to {total}, not 100: they are shares, not percents");
        findings.push(site.info("weights-sum", steps![], text));
    }
}
