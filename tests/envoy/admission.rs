//! An Envoy that is refused because too many come at once comes again by itself.

use tokio::task::LocalSet;

use super::{Variant, topologies};
use crate::support::chancery::{Chancery, Options};
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::port::Port;
use crate::support::upstream::Upstream;
use crate::support::xds_client::{ADS, Delta};
use crate::support::{eventually, holds, http};
use tonic::transport::Endpoint;

#[tokio::test]
async fn a_refused_envoy_comes_again_sotw() {
    for variant in [Variant::SotwAds, Variant::SotwSeparate] {
        LocalSet::new().run_until(a_refused_envoy_comes_again(variant)).await;
    }
}

#[tokio::test]
async fn a_refused_envoy_comes_again_delta() {
    for variant in [Variant::DeltaAds, Variant::DeltaSeparate] {
        LocalSet::new().run_until(a_refused_envoy_comes_again(variant)).await;
    }
}

async fn a_refused_envoy_comes_again(variant: Variant) {
    let service = Upstream::start("service").await;
    let listener = Port::reserve();
    let file = File::new(Edit::Rename, &topologies::one_service(variant, listener.number(), service.port()));
    let flags = vec!["--poll-interval", "0s", "--max-new-streams-per-second", "1"];
    let chancery = Chancery::serve_with(&file.path(), Options { flags, ..Options::default() }).await;
    let bootstrap = variant.bootstrap(chancery.xds()).await;

    // Somebody takes every token, so that it comes too late.
    let channel = Endpoint::from_shared(format!("http://{}", chancery.xds())).unwrap().connect().await.unwrap();
    let method = ADS.replace('/', "/Delta");
    let crowd = tokio::task::spawn_local(async move {
        loop {
            drop(Delta::try_open(channel.clone(), &method).await);
        }
    });
    let envoy = loop {
        let envoy = Envoy::start(&bootstrap).await;
        let refused = eventually("Envoy to be refused", async || {
            let log = envoy.log();
            let refused = log.contains("gRPC config stream to xds_cluster closed: 8, ");
            // It may happen to be the first to ask when a token is added.
            let let_in = chancery.status().await["clients"].as_array().is_some_and(|clients| !clients.is_empty());
            holds(refused || let_in, log).map(|()| refused)
        })
        .await;
        if refused {
            break envoy;
        }
    };
    assert!(chancery.is_set("chancery_xds_refused_streams_total").await);
    crowd.abort();

    let url = format!("http://{}/", listener.address());
    eventually("traffic", async || http::get(&url).await).await;
    chancery.until_synced(variant.streams()).await;
    drop(envoy);
    chancery.stop().await;
}
