//! Weighted clusters that no request could be spread over.

use super::Checked;
use crate::diagnostic::Findings;
use crate::envoy::{self, ReflectMessage as _, Schema, field};

/// Envoy adds the weights up in 32 bits.
const MOST: u64 = u32::MAX as u64;

pub(super) fn check(schema: &Schema, route: &Checked, findings: &mut Findings) {
    envoy::visit(schema, &route.message, &mut |path, message| {
        if message.descriptor().full_name() != "envoy.config.route.v3.WeightedCluster" || route.broken {
            return;
        }
        let weight = |cluster| field::message(cluster, "weight").and_then(|weight| field::unsigned(weight, "value"));
        let total: u64 = field::messages(message, "clusters").filter_map(weight).sum();
        if total == 0 {
            let text = "the weights of the weighted clusters add up to 0";
            findings.push(route.error("weights", path, text).help("give at least one of them a `weight` above 0"));
        } else if total > MOST {
            let text = format!("the weights of the weighted clusters add up to {total}, more than {MOST}");
            findings.push(route.error("weights", path, text).help("only their ratio counts: use smaller ones"));
        }
    });
}
