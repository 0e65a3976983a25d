//! Arguments of `serve` that say how changes reach the proxies.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::serve::interval;
use crate::xds;

/// How changes reach the proxies.
#[derive(Debug, Args)]
pub(super) struct Changes {
    /// How long changes wait for a proxy to answer what they build on; what they replace is never removed without the answer
    #[arg(long, value_name = "DURATION", env = "CHANCERY_GATE_TIMEOUT", default_value = "20s", value_parser = humantime::parse_duration)]
    gate_timeout: Duration,

    /// How long clusters and endpoints outlast a change of a listener, which drains and leads to them until then
    #[arg(long, value_name = "DURATION", env = "CHANCERY_REMOVAL_GRACE", default_value = "5s", value_parser = interval)]
    removal_grace: Duration,

    /// How a new snapshot reaches the proxies
    #[arg(long, value_name = "HOW", env = "CHANCERY_ROLLOUT", default_value = "all")]
    rollout: RolloutTo,

    /// How many proxies of each node group go first, as a number or a share such as `10%`; needs `--rollout canary`
    #[arg(long, value_name = "N|N%", env = "CHANCERY_CANARY", default_value = "1")]
    canary: xds::Share,

    /// How long the proxies that go first may take to accept all of a new snapshot, before it counts as refused
    #[arg(long, value_name = "DURATION", env = "CHANCERY_CANARY_TIMEOUT", default_value = "30s", value_parser = humantime::parse_duration)]
    canary_timeout: Duration,

    /// What a refusal leads to when all proxies are sent a new snapshot at once; with canaries it is always put back
    #[arg(long, value_name = "WHAT", env = "CHANCERY_ON_NACK", default_value = "hold")]
    on_nack: OnNack,

    /// Let nothing wait for a proxy's answers, to compare with: requests are lost during changes
    #[arg(long, hide = true)]
    ungated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RolloutTo {
    /// To all at once
    All,
    /// To a few of each node group first, and to the others once these have accepted all of it
    Canary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnNack {
    /// The proxy keeps what it has, and what leads to refused clusters is not sent to it
    Hold,
    /// All proxies go back to the last snapshot that every connected one had accepted
    Rollback,
}

impl Changes {
    /// What waits for what, and how long.
    pub(super) fn gates(&self) -> xds::Gates {
        xds::Gates { timeout: self.gate_timeout, removal_grace: self.removal_grace, open: self.ungated }
    }

    /// Who is sent a new snapshot first.
    pub(super) fn policy(&self) -> anyhow::Result<xds::Policy> {
        let waits = self.gate_timeout.max(self.removal_grace);
        if self.rollout == RolloutTo::Canary && self.canary_timeout <= waits {
            bail!(
                "--canary-timeout {} would refuse good snapshots: it must be longer than --gate-timeout and --removal-grace",
                humantime::format_duration(self.canary_timeout)
            );
        }
        match (self.rollout, self.on_nack) {
            (RolloutTo::All, OnNack::Hold) => Ok(xds::Policy::Hold),
            (RolloutTo::All, OnNack::Rollback) => Ok(xds::Policy::Rollback),
            (RolloutTo::Canary, OnNack::Hold) => {
                Ok(xds::Policy::Canary { first: self.canary, timeout: self.canary_timeout })
            }
            (RolloutTo::Canary, OnNack::Rollback) => {
                bail!(
                    "--on-nack rollback is for --rollout all: with canaries, what one refuses never reaches the others"
                );
            }
        }
    }
}
