//! A cluster that changes although its endpoints do not is warm at once: it does not wait for Envoy's own timeout of 15 s.

use std::time::{Duration, Instant};

use super::{Variant, held};
use crate::support::chancery::Chancery;
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::port::Port;
use crate::support::tools::Release;
use crate::support::upstream::Upstream;
use crate::support::{eventually, holds, http};

/// From the edit to the last acknowledgement.
const LIMIT: Duration = Duration::from_secs(5);

/// How often the cluster is changed.
const EDITS: u32 = 5;

on_every_envoy!(a_changed_cluster_is_warm_at_once);

async fn a_changed_cluster_is_warm_at_once(variant: Variant, release: Release) {
    let upstream = Upstream::start("service1").await;
    let listener = Port::reserve();
    let url = format!("http://{}/", listener.address());
    let with_timeout = |seconds: u32| {
        let base = super::topologies::one_service(variant, listener.number(), upstream.port());
        format!("{base}  connect_timeout: {seconds}s\n")
    };

    let mut file = File::new(Edit::Rename, &with_timeout(30));
    let chancery = Chancery::serve(&file.path()).await;
    let envoy = Envoy::start_release(release, &variant.bootstrap(chancery.xds()).await).await;
    eventually("an answer", async || http::get(&url).await).await;
    chancery.until_synced(1).await;

    let mut slowest = (Duration::ZERO, Duration::ZERO);
    for seconds in 1..=EDITS {
        let edited = Instant::now();
        file.write(&with_timeout(seconds));
        eventually("the changed cluster in use", async || {
            let dump = envoy.config_dump("ClustersConfigDump").await;
            let active = &dump["dynamic_active_clusters"];
            let timeout = &active[0]["cluster"]["connect_timeout"];
            holds(*timeout == format!("{seconds}s"), active)
        })
        .await;
        let active = edited.elapsed();
        let status = chancery.until_synced(1).await;
        let synced = edited.elapsed();
        assert_eq!(status["revision"], seconds + 1);
        eventually("the same on both sides", async || held::agree(variant, &chancery, &envoy, "default").await).await;
        slowest = (slowest.0.max(active), slowest.1.max(synced));
    }
    eprintln!(
        "{variant:?}, {release:?} Envoy: of {EDITS} edits, the slowest was in use after {:.0?}, and acknowledged after {:.0?}",
        slowest.0, slowest.1
    );
    assert!(slowest.1 < LIMIT, "{slowest:?}");
    assert_eq!(envoy.stat("cluster.service.init_fetch_timeout").await, 0);
    chancery.stop().await;
}
