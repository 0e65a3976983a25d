//! Bad edits harm nothing and say where they are.

use serde_json::Value;

use super::{Variant, topologies};
use crate::support::chancery::Chancery;
use crate::support::edit::{Edit, File};
use crate::support::envoy::Envoy;
use crate::support::eventually;
use crate::support::http;
use crate::support::load::Load;
use crate::support::port::Port;
use crate::support::upstream::Upstream;

/// What is wrong with an edit.
struct Bad {
    name: &'static str,
    /// Makes a good text bad.
    spoil: fn(&str) -> String,
    /// The text in the bad file at which the finding must stand; `None` if only a line and a column are asked for.
    at: Option<&'static str>,
}

const TABLE: [Bad; 6] = [
    Bad { name: "YAML syntax", spoil: |good| good.replace("routes:", "routes: ["), at: None },
    Bad { name: "unknown field", spoil: |good| good.replace("endpoints:", "endpiont:"), at: Some("endpiont") },
    Bad { name: "unknown cluster type", spoil: |good| good.replace("EDS", "EDDS"), at: Some("EDDS") },
    Bad {
        name: "bad address",
        spoil: |good| good.replace("address: 127.0.0.1:", "address: 127.0.0.1:9"),
        at: Some("127.0.0.1:9"),
    },
    Bad { name: "empty file", spoil: |_| String::new(), at: None },
    Bad { name: "truncated file", spoil: |good| good[..good.rfind(':').unwrap()].to_owned(), at: None },
];

#[tokio::test]
async fn bad_edits_sotw() {
    bad_edits_harm_nothing(Variant::SotwAds).await;
}

#[tokio::test]
async fn bad_edits_delta() {
    bad_edits_harm_nothing(Variant::DeltaAds).await;
}

async fn bad_edits_harm_nothing(variant: Variant) {
    let upstreams = [("service1", Upstream::start("service1").await), ("service2", Upstream::start("service2").await)];
    let listener = Port::reserve();
    let url = format!("http://{}/", listener.address());
    let to = |upstream: &Upstream| topologies::one_service(variant, listener.number(), upstream.port());

    let mut file = File::new(Edit::Rename, &to(&upstreams[0].1));
    let chancery = Chancery::serve(&file.path()).await;
    let envoy = Envoy::start(&variant.bootstrap(chancery.xds()).await).await;
    eventually("an answer", async || http::get(&url).await).await;
    let load = Load::start(&url).await;

    for (turn, bad) in TABLE.iter().enumerate() {
        let (before, after) = (&upstreams[turn % 2], &upstreams[(turn + 1) % 2]);
        let served = chancery.until_synced(1).await;
        let text = (bad.spoil)(&to(&before.1));
        assert_ne!(text, to(&before.1), "{}", bad.name);

        file.write(&text);
        let status = chancery.until(bad.name, |status| status["verdict"] == "rejected").await;
        let findings = status["findings"].as_array().unwrap();
        let places: Vec<_> = findings.iter().map(|finding| place(finding, &file, &text)).collect();
        assert!(!places.is_empty(), "{}", bad.name);
        let at_the_place = places.iter().any(|found| bad.at.is_none_or(|at| found.starts_with(at)));
        assert!(at_the_place, "{}: the findings point at {places:?}: {findings:?}", bad.name);
        assert_eq!(status["ready"], true, "{}", bad.name);
        assert_eq!(status["revision"], served["revision"], "{}", bad.name);
        assert_eq!(chancery.admin("/readyz").await.status, 200, "{}", bad.name);
        assert!(chancery.metric("chancery_config_last_reload_successful").await.abs() < f64::EPSILON, "{}", bad.name);
        load.until_served_by(before.0, 20).await;

        file.write(&to(&after.1));
        load.until_served_by(after.0, 20).await;
        let status = chancery.until_revision(served["revision"].as_u64().unwrap() + 1).await;
        assert_eq!(status["verdict"], "applied", "{}", bad.name);
        assert_eq!(status["findings"].as_array().unwrap().iter().filter(|f| f["level"] == "error").count(), 0);
        assert!(chancery.metric("chancery_config_last_reload_successful").await > 0.5, "{}", bad.name);
    }
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
    assert_eq!(envoy.stat("cluster_manager.cds.update_rejected").await, 0);
    chancery.stop().await;
}

/// The rest of the line to which a finding points.
fn place(finding: &Value, file: &File, text: &str) -> String {
    assert_eq!(finding["file"].as_str(), file.path().to_str(), "{finding}");
    let number =
        |key: &str| usize::try_from(finding[key].as_u64().unwrap_or_else(|| panic!("no {key}: {finding}"))).unwrap();
    // What is wrong with an empty file stands at its beginning.
    let line = text.split('\n').nth(number("line") - 1).unwrap_or_else(|| panic!("no such line: {finding}"));
    line.chars().skip(number("column") - 1).collect()
}
