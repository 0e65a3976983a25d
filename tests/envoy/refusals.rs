//! What `check` passes and Envoy refuses is sent once, harms nothing else, and is traced to its line.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Variant, held, topologies};
use crate::support::chancery::{self, Chancery};
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::load::Load;
use crate::support::port::Port;
use crate::support::slow_eds::SlowEds;
use crate::support::tools::Release;
use crate::support::upstream::Upstream;
use crate::support::{eventually, holds, http};

/// What only a proxy's own machine shows: a file that it does not have.
const MISSING_FILE: &str = "/nonexistent/endpoints.yaml";

on_every_envoy!(a_refusal_harms_nothing_else);

mod replaced {
    on_every_envoy!(super::traffic_stays_until_a_refused_cluster_is_mended);
}

/// A cluster is replaced by one that Envoy refuses, and the route with it: the old one is kept for as long.
async fn traffic_stays_until_a_refused_cluster_is_mended(variant: Variant, release: Release) {
    let place = Place::new(variant).await;
    let base = place.text(0, &[]);
    let to = |cluster: &str| {
        let renamed = base.replace("route: service\n", "route: bad_cluster\n");
        let at = renamed.find("clusters:\n").expect("the base has clusters after its listeners");
        format!("{}{cluster}", &renamed[..at])
    };
    let mut file = File::new(Edit::Rename, &base);
    let chancery = Chancery::serve(&file.path()).await;
    let envoy = Envoy::start_release(release, &variant.bootstrap(chancery.xds()).await).await;
    let url = format!("http://{}/", place.ingress.address());
    eventually("an answer", async || http::get(&url).await).await;
    let load = Load::start_mixed(&url).await;

    file.write(&to(&place.section(Extra::BadCluster)));
    let status = chancery.until("the refusal", |status| !nack(status, "CDS").is_null()).await;
    assert_eq!((status["revision"].clone(), status["verdict"].clone()), (json!(2), json!("applied")));
    load.until_served_by("service1", 100).await;
    assert_eq!(envoy.stat("cluster_manager.cds.update_rejected").await, 1);

    file.write(&to(&place.section(Extra::MendedCluster)));
    load.until_served_by("service2", 50).await;
    chancery.until_synced(1).await;
    eventually("what is served, and nothing else", async || held::agree(variant, &chancery, &envoy, "default").await)
        .await;
    assert_eq!(envoy.stat("cluster_manager.cds.update_rejected").await, 1);
    let totals = load.stop().await;
    let failed = totals.failures.len();
    assert_eq!(failed, 0, "of {} requests, the first: {:?}", totals.requests(), totals.failures.first());
    chancery.stop().await;
}

mod reconnected {
    on_every_envoy!(super::a_proxy_that_joins_again_ends_as_served);
}

/// After a refusal a proxy's own account of what it holds is wrong: it took parts of what it refused.
async fn a_proxy_that_joins_again_ends_as_served(variant: Variant, release: Release) {
    let place = Place::new(variant).await;
    let mut file = File::new(Edit::Rename, &place.text(0, &[]));
    let chancery = Chancery::serve(&file.path()).await;
    let line = SlowEds::start(chancery.xds(), Duration::ZERO);
    let envoy = Envoy::start_release(release, &variant.bootstrap(line.address()).await).await;
    let url = format!("http://{}/", place.ingress.address());
    eventually("an answer", async || http::get(&url).await).await;
    let load = Load::start_mixed(&url).await;
    let refused = [Extra::GoodCluster, Extra::BadCluster, Extra::GoodListener, Extra::BadListener];
    let taken_back: &[Extra] = &[];
    let mended = [Extra::GoodCluster, Extra::MendedCluster, Extra::GoodListener, Extra::MendedListener];
    for outcome in [taken_back, &mended, taken_back] {
        file.write(&place.text(0, &refused));
        let both = |status: &Value| !nack(status, "CDS").is_null() && !nack(status, "LDS").is_null();
        let status = chancery.until("both refusals", both).await;
        let connected = status["clients"][0]["connected"].clone();
        line.cut();
        chancery
            .until("another stream", |status| {
                let clients = status["clients"].as_array().unwrap();
                matches!(&clients[..], [client] if client["connected"] != connected && client["kinds"]["RDS"].is_object())
            })
            .await;
        file.write(&place.text(1, outcome));
        load.until_served_by("service2", 50).await;
        chancery.until_synced(1).await;
        eventually("what is served, and nothing else", async || {
            held::agree(variant, &chancery, &envoy, "default").await
        })
        .await;
    }
    let totals = load.stop().await;
    let failed = totals.failures.len();
    assert_eq!(failed, 0, "of {} requests, the first: {:?}", totals.requests(), totals.failures.first());
    chancery.stop().await;
}

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
    /// The same name without what is wrong; it leads to the second upstream.
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
        for extra in extras {
            write!(text, "---\nversion: 1\n{}", self.section(*extra)).unwrap();
        }
        text
    }

    fn section(&self, extra: Extra) -> String {
        let [first, second] = &self.upstreams;
        let listener = |name: &str, address: SocketAddr| {
            format!("listeners:\n- name: {name}\n  address: {address}\n  routes: [{{route: service}}]\n")
        };
        match extra {
            Extra::GoodCluster => format!("clusters:\n- name: good_cluster\n  endpoints: [\"{}\"]\n", first.address()),
            Extra::BadCluster => format!(
                "clusters:\n- name: bad_cluster\n  type: EDS\n  eds_cluster_config: {{eds_config: {{path_config_source: {{path: \
                 {MISSING_FILE}}}}}}}\n"
            ),
            Extra::MendedCluster => {
                format!("clusters:\n- name: bad_cluster\n  endpoints: [\"{}\"]\n", second.address())
            }
            Extra::GoodListener => listener("good_listener", self.good.address()),
            Extra::BadListener => listener("bad_listener", self.taken.local_addr().unwrap()),
            Extra::MendedListener => listener("bad_listener", self.mended.address()),
        }
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
