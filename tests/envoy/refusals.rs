//! What `check` passes and Envoy refuses is sent once, harms nothing else, and is traced to its line.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use super::{Variant, held, topologies};
use crate::support::chancery::{self, Chancery};
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::load::Load;
use crate::support::port::Port;
use crate::support::tools::Release;
use crate::support::upstream::Upstream;
use crate::support::{eventually, holds, http};

/// What only a proxy's own machine shows: a file that it does not have.
const MISSING_FILE: &str = "/nonexistent/endpoints.yaml";

on_every_envoy!(a_refusal_harms_nothing_else);

async fn a_refusal_harms_nothing_else(variant: Variant, release: Release) {
    let place = Place::new(variant).await;
    let mut file = File::new(Edit::Rename, &place.text(0, &[]));
    let chancery = Chancery::serve(&file.path()).await;
    let envoy = Envoy::start_release(release, &variant.bootstrap(chancery.xds()).await).await;
    let url = format!("http://{}/", place.ingress.address());
    eventually("an answer", async || http::get(&url).await).await;
    let load = Load::start_mixed(&url).await;
    let mut scene = Scene { variant, place: &place, file: &mut file, chancery, envoy, load, turn: 0, refused: [0, 0] };
    scene.is_whole().await;

    // A cluster beside a good one, and mended.
    scene.edit(&[Extra::GoodCluster, Extra::BadCluster]).await;
    scene.refuses("CDS", "bad_cluster", MISSING_FILE).await;
    eventually("the good cluster", async || scene.holds_cluster("good_cluster").await).await;
    scene.edit_beside(&[Extra::GoodCluster, Extra::BadCluster]).await;
    scene.edit(&[Extra::GoodCluster, Extra::MendedCluster]).await;
    scene.is_whole().await;

    // A listener beside a good one, and mended.
    let taken = place.taken.local_addr().unwrap().to_string();
    scene.edit(&[Extra::GoodListener, Extra::BadListener]).await;
    scene.refuses("LDS", "bad_listener", &taken).await;
    let good = format!("http://{}/", place.good.address());
    eventually("an answer of the good listener", async || http::get(&good).await).await;
    scene.edit_beside(&[Extra::GoodListener, Extra::BadListener]).await;
    scene.edit(&[Extra::GoodListener, Extra::MendedListener]).await;
    scene.is_whole().await;

    // Both at once, and taken back instead of mended.
    scene.edit(&[]).await;
    scene.is_whole().await;
    scene.edit(&[Extra::BadCluster, Extra::GoodListener, Extra::BadListener]).await;
    scene.refuses("CDS", "bad_cluster", MISSING_FILE).await;
    scene.refuses("LDS", "bad_listener", &taken).await;
    eventually("an answer of the good listener", async || http::get(&good).await).await;
    scene.edit_beside(&[Extra::BadCluster, Extra::GoodListener, Extra::BadListener]).await;
    scene.edit(&[]).await;
    scene.is_whole().await;

    let Scene { chancery, load, refused, .. } = scene;
    let totals = load.stop().await;
    eprintln!("{variant:?}, {release:?} Envoy: {refused:?} contents refused, {} requests, 0 failed", totals.requests());
    assert_eq!(totals.failures, Vec::<String>::new());
    chancery.stop().await;
}

/// What an edit adds to the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extra {
    GoodCluster,
    BadCluster,
    /// The same name without what is wrong.
    MendedCluster,
    GoodListener,
    BadListener,
    /// The same name at another address.
    MendedListener,
}

/// What topologies name.
struct Place {
    variant: Variant,
    upstreams: [Upstream; 2],
    ingress: Port,
    good: Port,
    mended: Port,
    /// Somebody else listens here.
    taken: TcpListener,
}

impl Place {
    async fn new(variant: Variant) -> Self {
        Self {
            variant,
            upstreams: [Upstream::start("service1").await, Upstream::start("service2").await],
            ingress: Port::reserve(),
            good: Port::reserve(),
            mended: Port::reserve(),
            taken: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    /// Traffic goes to one of the upstreams.
    fn text(&self, upstream: usize, extras: &[Extra]) -> String {
        let mut text = topologies::one_service(self.variant, self.ingress.number(), self.upstreams[upstream].port());
        let endpoint = self.upstreams[0].address();
        let listener = |name: &str, address: SocketAddr| {
            format!("listeners:\n- name: {name}\n  address: {address}\n  routes: [{{route: service}}]\n")
        };
        for extra in extras {
            let section = match extra {
                Extra::GoodCluster => format!("clusters:\n- name: good_cluster\n  endpoints: [\"{endpoint}\"]\n"),
                Extra::BadCluster => format!(
                    "clusters:\n- name: bad_cluster\n  type: EDS\n  eds_cluster_config: {{eds_config: {{path_config_source: \
                     {{path: {MISSING_FILE}}}}}}}\n"
                ),
                Extra::MendedCluster => format!("clusters:\n- name: bad_cluster\n  endpoints: [\"{endpoint}\"]\n"),
                Extra::GoodListener => listener("good_listener", self.good.address()),
                Extra::BadListener => listener("bad_listener", self.taken.local_addr().unwrap()),
                Extra::MendedListener => listener("bad_listener", self.mended.address()),
            };
            write!(text, "---\nversion: 1\n{section}").unwrap();
        }
        text
    }
}

/// An Envoy under load that is given one edit after the other.
struct Scene<'a> {
    variant: Variant,
    place: &'a Place,
    file: &'a mut File,
    chancery: Chancery,
    envoy: Envoy,
    load: Load,
    /// Counts the edits: each moves the traffic, which shows that its good part was applied.
    turn: usize,
    /// How many contents of clusters and of listeners Envoy should have refused so far.
    refused: [u64; 2],
}

impl Scene<'_> {
    /// Gives the file other extras and moves the traffic, and waits until it has moved.
    async fn edit(&mut self, extras: &[Extra]) {
        self.turn += 1;
        let text = self.place.text(self.turn % 2, extras);
        self.file.write(&text);
        self.chancery.until_revision(self.turn as u64 + 1).await;
        let check = chancery::run(&["check", self.file.path().to_str().unwrap()]).await;
        assert_eq!(check.code, 0, "{check:?}");
        self.load.until_served_by(["service1", "service2"][self.turn % 2], 50).await;
        if !extras.contains(&Extra::BadCluster) && !extras.contains(&Extra::BadListener) {
            self.chancery.until_synced(1).await;
        }
    }

    /// The same with extras of which the content did not change: what was refused does not come again.
    async fn edit_beside(&mut self, extras: &[Extra]) {
        self.edit(extras).await;
        assert_eq!(self.counts().await, self.refused, "what was refused was sent again");
    }

    /// Waits until a type is refused, as it was not before the last edit.
    async fn refuses(&mut self, service: &str, name: &str, reason: &str) {
        self.refused[usize::from(service == "LDS")] += 1;
        let status =
            self.chancery.until(&format!("{service} is refused"), |status| !nack(status, service).is_null()).await;
        let nack = nack(&status, service);
        let message = nack["message"].as_str().unwrap();
        assert!(message.contains(name) && message.contains(reason), "{message}");
        let file = std::fs::read_to_string(self.file.path()).unwrap();
        let line = file.lines().position(|line| line == format!("- name: {name}")).unwrap() + 1;
        assert_eq!(*nack["origins"].as_array().unwrap(), [format!("{}:{line}:3", self.file.path().display())]);
        assert_eq!(status["clients"][0]["kinds"][service]["state"], "nacked");
        assert_eq!(status["ready"], true);
    }

    /// How many responses with clusters and with listeners Envoy says it refused; Chancery has heard of as many.
    async fn counts(&self) -> [u64; 2] {
        let refused = [
            self.envoy.stat("cluster_manager.cds.update_rejected").await,
            self.envoy.stat("listener_manager.lds.update_rejected").await,
        ];
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let sum = refused.iter().sum::<u64>() as f64;
        if sum > 0.0 {
            eventually("every refusal to be heard of", async || {
                let heard = self.chancery.metric("chancery_xds_nacks_total").await;
                holds(heard >= sum, heard)
            })
            .await;
        }
        refused
    }

    async fn holds_cluster(&self, name: &str) -> Result<(), String> {
        let dump = self.envoy.config_dump("ClustersConfigDump").await;
        let active = dump["dynamic_active_clusters"].as_array().cloned().unwrap_or_default();
        holds(active.iter().any(|one| one["cluster"]["name"] == name), active)
    }

    /// Waits until Envoy uses all that is served, and nothing else; nothing more was refused than was foreseen.
    async fn is_whole(&self) {
        let status = self.chancery.until_synced(1).await;
        for service in ["CDS", "EDS", "LDS", "RDS"] {
            assert_eq!(*nack(&status, service), Value::Null, "{service}");
        }
        eventually("what is served, and nothing else", async || {
            held::agree(self.variant, &self.chancery, &self.envoy, "default").await
        })
        .await;
        assert_eq!(self.counts().await, self.refused);
    }
}

/// What the only client last refused of a type.
fn nack<'a>(status: &'a Value, service: &str) -> &'a Value {
    &status["clients"][0]["kinds"][service]["nack"]
}
