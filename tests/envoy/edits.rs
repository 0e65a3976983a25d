//! Every way of editing the file, for every way in which Envoy asks, without one failed request.

use super::{Variant, topologies};
use crate::support::chancery::Chancery;
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::eventually;
use crate::support::http;
use crate::support::load::Load;
use crate::support::port::Port;
use crate::support::tools::Release;
use crate::support::upstream::Upstream;

macro_rules! edits {
    ($($name:ident: $edit:ident, $variant:ident;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                traffic_follows(Edit::$edit, Variant::$variant, Release::Chosen).await;
            }
        )*
    };
}

edits! {
    in_place_sotw_ads: InPlace, SotwAds;
    in_place_delta_ads: InPlace, DeltaAds;
    in_place_sotw_separate: InPlace, SotwSeparate;
    in_place_delta_separate: InPlace, DeltaSeparate;
    rename_sotw_ads: Rename, SotwAds;
    rename_delta_ads: Rename, DeltaAds;
    rename_sotw_separate: Rename, SotwSeparate;
    rename_delta_separate: Rename, DeltaSeparate;
    config_map_sotw_ads: ConfigMap, SotwAds;
    config_map_delta_ads: ConfigMap, DeltaAds;
    config_map_sotw_separate: ConfigMap, SotwSeparate;
    config_map_delta_separate: ConfigMap, DeltaSeparate;
    recreate_sotw_ads: Recreate, SotwAds;
    recreate_delta_ads: Recreate, DeltaAds;
    recreate_sotw_separate: Recreate, SotwSeparate;
    recreate_delta_separate: Recreate, DeltaSeparate;
}

#[tokio::test]
async fn older_rename_sotw_ads() {
    traffic_follows(Edit::Rename, Variant::SotwAds, Release::Older).await;
}

#[tokio::test]
async fn older_rename_delta_ads() {
    traffic_follows(Edit::Rename, Variant::DeltaAds, Release::Older).await;
}

async fn traffic_follows(how: Edit, variant: Variant, release: Release) {
    let (service1, service2) = (Upstream::start("service1").await, Upstream::start("service2").await);
    let listener = Port::reserve();
    let url = format!("http://{}/", listener.address());
    let to = |upstream: &Upstream| topologies::one_service(variant, listener.number(), upstream.port());

    let mut file = File::new(how, &to(&service1));
    let chancery = Chancery::serve(&file.path()).await;
    let mut envoy = Envoy::start_release(release, &variant.bootstrap(chancery.xds()).await).await;
    eventually("an answer", async || http::get(&url).await).await;
    chancery.until_synced(variant.streams()).await;

    // More than once: after the first edit a file can be another one, and must still be followed.
    let load = Load::start(&url).await;
    for (revision, upstream, name) in
        [(2, &service2, "service2"), (3, &service1, "service1"), (4, &service2, "service2")]
    {
        file.write(&to(upstream));
        load.until_served_by(name, 20).await;
        let status = chancery.until_synced(variant.streams()).await;
        assert_eq!(status["revision"], revision, "one edit is one revision");
    }
    let totals = load.stop().await;
    assert_eq!(totals.failures, Vec::<String>::new());
    assert_eq!(totals.served.len(), 2, "{totals:?}");
    envoy.assert_running();
    let status = chancery.status().await;
    for client in status["clients"].as_array().unwrap() {
        assert_eq!(client["node"], "test-id", "{client}");
        assert_eq!(client["protocol"], if variant.is_delta() { "delta" } else { "sotw" }, "{client}");
        assert_eq!(client["service"] == "ADS", variant.streams() == 1, "{client}");
    }
    chancery.stop().await;
}
