//! Topologies that have little in common, one after the other: after each, Envoy uses what is served, and nothing else.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Variant, held};
use crate::support::chancery::{Chancery, Options};
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::port::Port;
use crate::support::random::Random;
use crate::support::tools::Release;
use crate::support::{eventually, http};

/// How many topologies one Envoy is given.
const TOPOLOGIES: u64 = 20;

/// Names that clusters, route tables and listeners go by.
const CLUSTERS: [&str; 8] = ["api", "auth", "cart", "feed", "mail", "pay", "search", "shop"];
const TABLES: [&str; 3] = ["edge", "internal", "main"];
const LISTENERS: [&str; 6] = ["blue", "cyan", "gray", "lime", "pink", "teal"];

on_every_envoy!(envoy_follows);

async fn envoy_follows(variant: Variant, release: Release) {
    let ports: Vec<Port> = (0..4).map(|_| Port::reserve()).collect();
    let seed = std::env::var("TOPOLOGIES_SEED").map_or(5, |seed| seed.parse().expect("TOPOLOGIES_SEED is a number"));
    let mut random = Random::new(seed, "topologies");
    let mut world = World::default();
    let mut file = File::new(Edit::Rename, &world.next(&mut random, &ports));
    let mut options = Options::default();
    // Nothing is removed before the old listeners had this time.
    options.flags.extend(["--removal-grace", "0s"]);
    let chancery = Chancery::serve_with(&file.path(), options).await;
    let envoy = Envoy::start_release(release, &variant.bootstrap(chancery.xds()).await).await;
    let mut resources = 0;
    for number in 1..=TOPOLOGIES {
        chancery.until_revision(number).await;
        chancery.until_synced(1).await;
        let what = format!("topology {number} of seed {seed} in use: {}", world.text);
        let held = eventually(&what, async || held::agree(variant, &chancery, &envoy, "default").await).await;
        resources += held.len();
        world.carries_traffic().await;
        let wrong = envoy.admin("/stats?usedonly&filter=(update_rejected|init_fetch_timeout)$").await.body;
        assert!(wrong.lines().all(|line| line.ends_with(": 0")), "topology {number}: {wrong}\n{}", world.text);
        if number < TOPOLOGIES {
            file.write(&world.next(&mut random, &ports));
        }
    }
    eprintln!("{variant:?}, {release:?} Envoy: {TOPOLOGIES} topologies, {resources} resources as served");
    chancery.stop().await;
}

/// What a topology leaves to the next one.
#[derive(Debug, Default)]
struct World {
    text: String,
    /// The addresses of listeners, and whether they speak HTTP.
    listeners: BTreeMap<&'static str, (u16, bool)>,
}

impl World {
    /// Another topology. A port goes from a listener that goes to any other one. Between two that stay it does not: Envoy
    /// takes them one by one, and refuses the one that comes first.
    fn next(&mut self, random: &mut Random, ports: &[Port]) -> String {
        let clusters = some(random, &CLUSTERS);
        let names = some(random, &LISTENERS);
        let kept = |port: u16| self.listeners.iter().any(|(name, (of, _))| *of == port && names.contains(name));
        let mut free: Vec<u16> = ports.iter().map(Port::number).filter(|port| !kept(*port)).collect();
        let mut listeners = BTreeMap::new();
        for name in names {
            let old = self.listeners.get(name).map(|(port, _)| *port);
            let port = match old {
                Some(port) if free.is_empty() || random.percent(60) => port,
                _ if free.is_empty() => continue,
                _ => free.swap_remove(random.below(free.len())),
            };
            listeners.insert(name, (port, random.percent(75)));
        }
        let mut tables = Vec::new();
        let items: Vec<Value> = listeners
            .iter()
            .map(|(name, (port, is_http))| {
                let mut item = json!({"name": name, "address": format!("127.0.0.1:{port}")});
                if !is_http {
                    item["tcp_proxy"] = json!(random.pick(&clusters));
                } else if random.percent(70) {
                    let table = *random.pick(&TABLES);
                    tables.push(table);
                    item["rds"] = json!(table);
                } else {
                    item["virtual_hosts"] = virtual_hosts(random, &clusters);
                }
                item
            })
            .collect();
        tables.sort_unstable();
        tables.dedup();
        let tables: Vec<_> = tables
            .iter()
            .map(|name| json!({"name": name, "virtual_hosts": virtual_hosts(random, &clusters)}))
            .collect();
        let clusters: Vec<_> = clusters.iter().map(|name| cluster(random, name)).collect();
        let topology = json!({"version": 1, "listeners": items, "route_configs": tables, "clusters": clusters});
        self.listeners = listeners;
        self.text = format!("{topology:#}\n");
        self.text.clone()
    }

    /// Every listener that speaks HTTP gives an answer, if only that there is no route or no upstream.
    async fn carries_traffic(&self) {
        for (name, (port, is_http)) in &self.listeners {
            if *is_http {
                let url = format!("http://127.0.0.1:{port}/");
                eventually(&format!("an answer of {name}"), async || http::get(&url).await).await;
            }
        }
    }
}

/// At least one of the names, in their order.
fn some(random: &mut Random, names: &[&'static str]) -> Vec<&'static str> {
    let certain = *random.pick(names);
    names.iter().copied().filter(|name| *name == certain || random.percent(55)).collect()
}

fn cluster(random: &mut Random, name: &str) -> Value {
    let mut cluster = json!({"name": name, "connect_timeout": format!("{}s", 1 + random.below(3))});
    let hosts = random.below(4);
    // Nothing listens on the ports of most of them: what counts here is what Envoy was told.
    // Envoy takes the same address once only.
    let endpoint = |number: usize, random: &mut Random| {
        let address = format!("127.0.0.1:{}", 1 + 3 * number + random.below(3));
        if random.percent(30) {
            json!({"address": address, "load_balancing_weight": 1 + random.below(9)})
        } else {
            json!(address)
        }
    };
    let endpoints: Vec<_> = (0..hosts).map(|number| endpoint(number, random)).collect();
    cluster["type"] = json!(if random.percent(70) { "EDS" } else { "STATIC" });
    cluster["endpoints"] = json!(endpoints);
    if random.percent(20) {
        cluster["circuit_breakers"] = json!({"thresholds": [{"max_connections": 1 + random.below(3)}]});
    }
    cluster
}

/// Several hosts of their own, and one for all others.
fn virtual_hosts(random: &mut Random, clusters: &[&str]) -> Value {
    let mut hosts: Vec<Value> = (0..random.below(3))
        .map(|number| {
            let domains = [format!("h{number}.example.com"), format!("*.h{number}.example.com")];
            json!({"name": format!("h{number}"), "domains": domains, "routes": routes(random, clusters)})
        })
        .collect();
    hosts.push(json!({"name": "others", "domains": ["*"], "routes": routes(random, clusters)}));
    json!(hosts)
}

fn routes(random: &mut Random, clusters: &[&str]) -> Value {
    let mut routes: Vec<Value> = (0..random.below(3))
        .map(|number| {
            let prefix = format!("/{}{number}", random.pick(&["a", "b", "c"]));
            json!({"match": {"prefix": prefix}, "route": route(random, clusters)})
        })
        .collect();
    routes.push(if random.percent(80) {
        json!({"route": route(random, clusters)})
    } else {
        json!({"direct_response": {"status": 200 + random.below(5)}})
    });
    json!(routes)
}

fn route(random: &mut Random, clusters: &[&str]) -> Value {
    if random.percent(70) {
        return json!({"cluster": random.pick(clusters), "timeout": format!("{}s", 1 + random.below(5))});
    }
    let weighted: Vec<_> =
        clusters.iter().map(|cluster| json!({"name": cluster, "weight": 1 + random.below(9)})).collect();
    json!({"weighted_clusters": {"clusters": weighted}})
}
