//! Certificates are replaced under a real Envoy while it answers.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Variant;
use crate::support::chancery::{self, Chancery, Options};
use crate::support::edit::Edit;
use crate::support::envoy::Envoy;
use crate::support::examples::examples;
use crate::support::port::Port;
use crate::support::tls::{Authority, Load, Pair};
use crate::support::upstream::Upstream;
use crate::support::{eventually, holds};

const NAME: &str = "shop.example.com";

/// A topology with a certificate, its key and an authority in files.
struct Place {
    dir: tempfile::TempDir,
    generation: u32,
}

impl Place {
    fn new(how: Edit, listener: u16, upstream: u16, authority: &Authority, pair: &Pair) -> Self {
        let mut place = Self { dir: tempfile::tempdir().unwrap(), generation: 0 };
        fs::create_dir(place.certs()).unwrap();
        fs::write(place.dir.path().join("ca.crt"), authority.pem()).unwrap();
        if how == Edit::ConfigMap {
            place.swap(pair);
            for file in ["tls.crt", "tls.key"] {
                symlink(Path::new("..data").join(file), place.certs().join(file)).unwrap();
            }
        } else {
            write(&place.certs(), pair);
        }
        let topology = format!(
            "version: 1
listeners:
- name: https
  address: 127.0.0.1:{listener}
  listener_filters: [tls_inspector]
  filter_chains:
  - filter_chain_match: {{server_names: [{NAME}]}}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
        common_tls_context:
          tls_certificate_sds_secret_configs:
          - {{name: shop, sds_config: {{ads: {{}}, resource_api_version: V3}}}}
          validation_context_sds_secret_config: {{name: ca, sds_config: {{ads: {{}}, resource_api_version: V3}}}}
    routes: [{{route: service}}]
secrets:
- {{name: shop, tls_certificate: {{certificate_chain: certs/tls.crt, private_key: certs/tls.key}}}}
- {{name: ca, validation_context: {{trusted_ca: ca.crt}}}}
clusters:
- {{name: service, endpoints: [\"127.0.0.1:{upstream}\"]}}
"
        );
        fs::write(place.path(), topology).unwrap();
        place
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("topology.yaml")
    }

    fn certs(&self) -> PathBuf {
        self.dir.path().join("certs")
    }

    fn replace(&mut self, how: Edit, pair: &Pair) {
        let certs = self.certs();
        match how {
            Edit::InPlace => write(&certs, pair),
            Edit::Rename => {
                let new = self.dir.path().join("new");
                fs::create_dir_all(&new).unwrap();
                write(&new, pair);
                for file in ["tls.crt", "tls.key"] {
                    fs::rename(new.join(file), certs.join(file)).unwrap();
                }
            }
            Edit::ConfigMap => self.swap(pair),
            Edit::Recreate => unreachable!("not tried here"),
        }
    }

    fn swap(&mut self, pair: &Pair) {
        let certs = self.certs();
        self.generation += 1;
        let name = format!("..{}", self.generation);
        fs::create_dir(certs.join(&name)).unwrap();
        write(&certs.join(&name), pair);
        symlink(&name, certs.join("..data_tmp")).unwrap();
        fs::rename(certs.join("..data_tmp"), certs.join("..data")).unwrap();
    }
}

fn write(dir: &Path, pair: &Pair) {
    fs::write(dir.join("tls.crt"), &pair.certificate).unwrap();
    fs::write(dir.join("tls.key"), &pair.key).unwrap();
}

macro_rules! rotations {
    ($($name:ident: $edit:ident, $variant:ident;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                new_connections_get_the_new_certificate(Edit::$edit, Variant::$variant).await;
            }
        )*
    };
}

rotations! {
    rotated_in_place_sotw: InPlace, SotwAds;
    rotated_in_place_delta: InPlace, DeltaAds;
    rotated_by_rename_sotw: Rename, SotwAds;
    rotated_by_rename_delta: Rename, DeltaAds;
    rotated_in_a_volume_sotw: ConfigMap, SotwAds;
    rotated_in_a_volume_delta: ConfigMap, DeltaAds;
}

async fn new_connections_get_the_new_certificate(how: Edit, variant: Variant) {
    let authority = Authority::new();
    let pairs: Vec<Pair> = (0..4).map(|_| authority.issue(NAME)).collect();
    let upstream = Upstream::start("service1").await;
    let listener = Port::reserve();
    let mut place = Place::new(how, listener.number(), upstream.port(), &authority, &pairs[0]);
    let flags = vec!["--poll-interval", "0s", "--log", "trace"];
    let chancery = Chancery::serve_with(&place.path(), Options { flags, ..Options::default() }).await;
    let mut envoy = Envoy::start(&variant.bootstrap(chancery.xds()).await).await;
    let client = authority.client(listener.address(), NAME);
    let mut kept = eventually("a connection", async || client.connect().await).await;
    kept.ask().await.unwrap();
    assert!(kept.shows(&pairs[0]));
    chancery.until_synced(1).await;
    let listeners = async || {
        let stats = ["listener_added", "listener_modified", "listener_removed", "listener_in_place_updated"];
        let mut values = Vec::new();
        for stat in stats {
            values.push(envoy.stat(&format!("listener_manager.{stat}")).await);
        }
        values
    };
    let before = listeners().await;

    let load = Load::start(&client);
    load.until_shown(&pairs[0], 10).await;
    for pair in &pairs[1..3] {
        place.replace(how, pair);
        load.until_shown(pair, 30).await;
        chancery.until_synced(1).await;
    }
    if how != Edit::ConfigMap {
        // Only one of the two files is there yet: what is served stays, until the other one comes.
        fs::write(place.certs().join("tls.crt"), &pairs[3].certificate).unwrap();
        let status = chancery.until("a refusal", |status| status["verdict"] == "rejected").await;
        assert_eq!(status["findings"][0]["code"], "key-mismatch", "{status}");
        load.until_shown(&pairs[2], 10).await;
    }
    place.replace(how, &pairs[3]);
    load.until_shown(&pairs[3], 30).await;
    kept.ask().await.expect("a connection outlives the certificate that it began with");
    let totals = load.stop().await;
    assert_eq!(totals.failures, Vec::<String>::new());
    assert_eq!(listeners().await, before, "the listener stays as it is");
    assert!(before[1] == 0 && before[2] == 0, "{before:?}");
    envoy.assert_running();

    let mut outside = vec![chancery.stdout(), chancery.stderr()];
    for path in ["/status", "/config_dump", "/metrics"] {
        outside.push(chancery.admin(path).await.body);
    }
    for command in ["check", "render"] {
        for output in ["text", "yaml", "json"] {
            let run = chancery::run(&[command, place.path().to_str().unwrap(), "-o", output]).await;
            outside.extend([run.stdout, run.stderr]);
        }
    }
    assert!(outside.iter().any(|text| text.contains("shop")), "something was shown");
    for (pair, text) in pairs.iter().flat_map(|pair| outside.iter().map(move |text| (pair, text))) {
        for line in pair.key_lines() {
            assert!(!text.contains(line), "a key is shown in {text}");
        }
    }
    chancery.stop().await;
}

/// `::ffff:127.0.0.1` is loopback to the system and, as it is written, any other address to Chancery.
#[tokio::test]
async fn private_keys_are_withheld_where_others_could_read_them() {
    let authority = Authority::new();
    let pair = authority.issue(NAME);
    let listener = Port::reserve();
    let place = Place::new(Edit::InPlace, listener.number(), 1, &authority, &pair);
    let listen: SocketAddr = "[::ffff:127.0.0.1]:0".parse().unwrap();
    for (flags, withheld) in [(vec![], true), (vec!["--allow-plaintext-secrets"], false)] {
        let chancery = Chancery::serve_with(&place.path(), Options { listen, flags, ..Options::default() }).await;
        let xds = SocketAddr::from(([127, 0, 0, 1], chancery.xds().port()));
        let envoy = Envoy::start(&Variant::DeltaAds.bootstrap(xds).await).await;
        let status = chancery.until_synced(1).await;
        let names: Vec<_> = status["withheld"].as_array().unwrap().iter().map(|entry| &entry["name"]).collect();
        let error = status["error"].as_str().unwrap_or_default();
        let secrets = |dump: &serde_json::Value| {
            let active = dump["dynamic_active_secrets"].as_array().cloned().unwrap_or_default();
            active.iter().map(|secret| secret["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let received = eventually("the authority", async || {
            let dump = envoy.config_dump("SecretsConfigDump").await;
            let names = secrets(&dump);
            if names.contains(&"ca".to_owned()) { Ok(names) } else { Err(dump.to_string()) }
        })
        .await;
        if withheld {
            assert_eq!(names, ["shop"]);
            assert!(error.contains("--allow-plaintext-secrets"), "{status}");
            assert_eq!(received, ["ca"]);
            assert_eq!(chancery.stderr().matches("private keys are withheld").count(), 1, "{}", chancery.stderr());
        } else {
            assert_eq!((names.len(), error), (0, ""));
            assert!(received.contains(&"shop".to_owned()), "{received:?}");
        }
        chancery.stop().await;
    }
}

#[tokio::test]
async fn clients_without_a_certificate_of_the_authority_are_turned_away_sotw() {
    strangers_are_turned_away(Variant::SotwAds).await;
}

#[tokio::test]
async fn clients_without_a_certificate_of_the_authority_are_turned_away_delta() {
    strangers_are_turned_away(Variant::DeltaAds).await;
}

async fn strangers_are_turned_away(variant: Variant) {
    let mut example = examples().into_iter().find(|example| example.name == "mtls").unwrap();
    example.put_on_loopback();
    let [servers, clients, others] = [Authority::new(), Authority::new(), Authority::new()];
    let shop = servers.issue(NAME);
    for (file, pem) in
        [("shop.crt", shop.certificate.as_str()), ("shop.key", &shop.key), ("clients.crt", clients.pem())]
    {
        fs::write(example.dir().join("certs").join(file), pem).unwrap();
    }
    let chancery = Chancery::serve(&example.topology()).await;
    let _envoy = Envoy::start(&variant.bootstrap(chancery.xds()).await).await;
    let address = SocketAddr::from(([127, 0, 0, 1], example.port("0.0.0.0:10443")));
    let ask = async |own: Option<&Pair>| {
        let mut connection = servers.client_with(address, NAME, own).connect().await?;
        connection.ask().await
    };
    eventually("an answer", async || {
        // No upstream is there; that Envoy says so shows that it took the request.
        let answer = ask(Some(&clients.issue("a-client"))).await.unwrap_err();
        holds(answer.contains("HTTP/1.1 503 Service Unavailable"), answer)
    })
    .await;
    let answers = [ask(None).await.unwrap_err(), ask(Some(&others.issue("a-client"))).await.unwrap_err()];
    // The other authority has the same name, and another key.
    assert_eq!(answers, ["received fatal alert: CertificateRequired", "received fatal alert: DecryptError"]);
    chancery.stop().await;
}
