//! The Docker sandbox, which no test can start: its files say what they must, and name nothing that does not exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::chancery;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

fn compose() -> Value {
    serde_saphyr::from_str(&read("docker-compose.yaml")).unwrap()
}

/// The Dockerfile's instructions: continued lines joined, comments left out.
fn dockerfile() -> Vec<(String, String)> {
    let joined = read("Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()))
        .collect()
}

/// The final stage's instructions.
fn image() -> Vec<(String, String)> {
    let all = dockerfile();
    let last = all.iter().rposition(|(word, _)| word == "FROM").unwrap();
    all[last..].to_vec()
}

fn only<'a>(instructions: &'a [(String, String)], wanted: &str) -> &'a str {
    let found: Vec<_> = instructions.iter().filter(|(word, _)| word == wanted).collect();
    let [(_, rest)] = &found[..] else { panic!("one {wanted} is expected: {found:?}") };
    rest
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("a list: {value}"))
        .iter()
        .map(|v| v.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_services_are_the_seeds() {
    let services = compose()["services"].clone();
    let names: Vec<_> = services.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["proxy", "service1", "service2", "chancery"]);
    for name in ["service1", "service2"] {
        assert_eq!(services[name]["hostname"], name, "the echo server answers with its host's name");
        assert_eq!(services[name]["environment"]["PORT"], "8080");
    }
    assert!(services["proxy"]["image"].as_str().unwrap().starts_with("envoyproxy/envoy:v1.40"));
    assert_eq!(strings(&services["proxy"]["ports"])[0], "10000:10000");
    assert_eq!(strings(&services["proxy"]["command"]), ["envoy", "-c", "/etc/envoy/envoy.yaml"]);
}

#[test]
fn the_proxy_starts_without_chancery() {
    let proxy = compose()["services"]["proxy"].clone();
    assert_eq!(strings(&proxy["depends_on"]), ["service1", "service2"]);
}

#[test]
fn every_mounted_path_exists_and_the_topology_comes_with_its_directory() {
    for (name, service) in compose()["services"].as_object().unwrap() {
        for mount in service.get("volumes").map(strings).unwrap_or_default() {
            let parts: Vec<_> = mount.split(':').collect();
            let [host, container, "ro"] = parts[..] else { panic!("{name}: not read-only: {mount}") };
            assert!(exists(host), "{name}: {host} does not exist");
            if name == "chancery" {
                // A mounted file stays the old one when an editor replaces it.
                assert_eq!((host, container), ("./config", "/config"));
                assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(host).is_dir());
            }
        }
    }
    let chancery = compose()["services"]["chancery"].clone();
    assert_eq!(strings(&chancery["volumes"]).len(), 1);
    assert_eq!(strings(&chancery["command"]), ["serve", "/config/topology.yaml"]);
    assert!(exists("config/topology.yaml"));
}

#[test]
fn chancery_is_reached_by_the_proxy_and_looked_into_from_this_host_only() {
    let chancery = compose()["services"]["chancery"].clone();
    assert_eq!(chancery["environment"], json!({"CHANCERY_LISTEN": "0.0.0.0:18000", "CHANCERY_ADMIN": "0.0.0.0:18001"}));
    let ports = strings(&chancery["ports"]);
    assert!(ports.iter().any(|port| port == "127.0.0.1:18001:18001"), "{ports:?}");
    assert!(ports.iter().all(|port| port.starts_with("127.0.0.1:")), "published beyond this host: {ports:?}");
    let test = strings(&chancery["healthcheck"]["test"]);
    assert_eq!(test, ["CMD", "/usr/local/bin/chancery", "healthcheck"]);

    let bootstrap: Value = serde_saphyr::from_str(&read("config/envoy.yaml")).unwrap();
    assert_eq!(bootstrap["node"], json!({"cluster": "test-cluster", "id": "test-id"}));
    assert_eq!(bootstrap["admin"]["address"]["socket_address"]["port_value"], 19000);
    let cluster = &bootstrap["static_resources"]["clusters"][0];
    assert_eq!((&cluster["name"], &cluster["type"]), (&json!("xds_cluster"), &json!("STRICT_DNS")));
    let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    assert_eq!(endpoint["address"]["socket_address"], json!({"address": "chancery", "port_value": 18000}));
}

#[test]
fn the_image_is_small_and_does_not_run_as_root() {
    let image = image();
    assert!(only(&image, "FROM").contains("distroless"), "{image:?}");
    let user = only(&image, "USER").split(':').next().unwrap();
    assert!(user.parse::<u32>().unwrap() > 0, "an id, so that Kubernetes' runAsNonRoot can tell");
    let entry: Vec<String> = serde_json::from_str(only(&image, "ENTRYPOINT")).unwrap();
    assert_eq!(entry, ["/usr/local/bin/chancery"]);
    let command: Vec<String> = serde_json::from_str(only(&image, "CMD")).unwrap();
    assert_eq!(command, ["serve", "/config/topology.yaml"]);
    let health = only(&image, "HEALTHCHECK").rsplit_once("CMD ").unwrap().1;
    assert_eq!(serde_json::from_str::<Vec<String>>(health).unwrap(), ["/usr/local/bin/chancery", "healthcheck"]);
    assert!(image.iter().any(|(_, rest)| rest.ends_with("/usr/local/bin/chancery")), "{image:?}");
    // Nothing names an architecture, so each platform of a multi-platform build makes its own.
    let text = read("Dockerfile");
    let named = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .find(|line| line.contains("amd64") || line.contains("x86_64"));
    assert_eq!(named, None);
}

#[test]
fn the_build_copies_what_exists_and_what_the_ignore_file_lets_through() {
    let ignored = read(".dockerignore");
    let allowed: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignored.lines().any(|line| line == "*"), "everything else stays out of the build");
    for path in &allowed {
        assert!(exists(path), ".dockerignore: {path} does not exist");
    }
    let mut copied = 0;
    for (_, rest) in dockerfile().iter().filter(|(word, rest)| word == "COPY" && !rest.contains("--from")) {
        let paths: Vec<_> = rest.split_whitespace().collect();
        for path in &paths[..paths.len() - 1] {
            assert!(exists(path), "Dockerfile: {path} does not exist");
            assert!(allowed.contains(path), "Dockerfile: {path} is kept out by .dockerignore");
            copied += 1;
        }
    }
    assert!(copied >= 6);
}

/// The builder's compiler is the one that Cargo.toml asks for.
#[test]
fn the_builder_has_the_compiler_that_the_crate_needs() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let builder = dockerfile().into_iter().find(|(word, _)| word == "FROM").unwrap().1;
    assert!(builder.starts_with(&format!("rust:{version}-slim")), "{builder}");
}

/// The commands that both files give to the program are commands that it has.
#[tokio::test]
async fn the_commands_exist() {
    for command in ["serve", "healthcheck"] {
        let help = chancery::run(&[command, "--help"]).await;
        assert_eq!(help.code, 0, "{help:?}");
        assert!(help.stdout.contains("Usage"), "{help:?}");
    }
    let serve = chancery::run(&["serve", "--help"]).await.stdout;
    let variables = compose()["services"]["chancery"]["environment"].clone();
    let variables: BTreeMap<String, String> = serde_json::from_value(variables).unwrap();
    for variable in variables.keys() {
        assert!(serve.contains(variable.as_str()), "{variable} is not read by serve:\n{serve}");
    }
    let check = chancery::run(&["check", "config/topology.yaml"]).await;
    assert_eq!(check.code, 0, "{check:?}");
}
