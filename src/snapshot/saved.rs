//! A snapshot as bytes that outlast the process.
//!
//! A line with the number of the format, the SHA-256 of all that follows, and a protobuf message in which groups share
//! resources as they do in memory. Versions are not in it: they are hashes of content, and come out again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::{Origin, Resource, Selectors, Snapshot, Traits};
use crate::envoy::Kind;

/// What every state file begins with, whatever its format.
const MAGIC: &str = "chancery state ";

/// The number of the format that is written, and the only one that is read.
const FORMAT: &str = "1";

const CHECKSUM: usize = 32;

/// The last millisecond of the year 9999: what comes later cannot be shown.
const LATEST: u64 = 253_402_300_799_999;

/// A snapshot, and what it was made from.
#[derive(Debug)]
pub struct Saved {
    /// What is served.
    pub snapshot: Arc<Snapshot>,
    /// The paths that were followed.
    pub paths: Vec<Arc<str>>,
    /// SHA-256 over the files that it was made from, in hex.
    pub source_digest: String,
    /// When it was saved, in milliseconds since 1970.
    pub at: u64,
}

/// Why bytes are no saved snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Something else wrote them.
    #[error("it is not a state file of this program")]
    Foreign,
    /// Another version of this program wrote them.
    #[error("it has format {0}, and this version reads format {FORMAT} only")]
    Format(String),
    /// The end is missing.
    #[error("it ends early")]
    Truncated,
    /// They are not those that were written.
    #[error("its checksum does not fit its content")]
    Checksum,
    /// The checksum is right, and the content is not.
    #[error("its content is not what this version writes: {0}")]
    Content(&'static str),
}

#[derive(prost::Message)]
#[prost(skip_debug)]
struct State {
    #[prost(string, tag = "1")]
    source_digest: String,
    #[prost(uint64, tag = "2")]
    at: u64,
    #[prost(uint64, tag = "3")]
    revision: u64,
    /// As under `node_groups`, in JSON.
    #[prost(string, tag = "4")]
    selectors: String,
    #[prost(message, repeated, tag = "5")]
    resources: Vec<StateResource>,
    #[prost(message, repeated, tag = "6")]
    groups: Vec<StateGroup>,
    #[prost(string, repeated, tag = "7")]
    paths: Vec<String>,
}

#[derive(prost::Message)]
#[prost(skip_debug)]
struct StateResource {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bytes = "bytes", tag = "3")]
    message: Bytes,
    #[prost(string, tag = "4")]
    file: String,
    #[prost(uint32, tag = "5")]
    line: u32,
    #[prost(uint32, tag = "6")]
    column: u32,
    #[prost(bool, tag = "7")]
    on_demand: bool,
    #[prost(bool, tag = "8")]
    private: bool,
    #[prost(string, optional, tag = "9")]
    eds_service: Option<String>,
    #[prost(string, repeated, tag = "10")]
    clusters: Vec<String>,
}

#[derive(prost::Message)]
#[prost(skip_debug)]
struct StateGroup {
    #[prost(string, tag = "1")]
    name: String,
    /// Positions in `State::resources`.
    #[prost(uint32, repeated, tag = "2")]
    resources: Vec<u32>,
}

impl Saved {
    /// The bytes of the state file.
    pub fn encode(&self) -> Vec<u8> {
        let Self { snapshot, paths, source_digest, at } = self;
        let Snapshot { revision, groups, selectors } = &**snapshot;
        let (mut resources, mut positions) = (Vec::new(), BTreeMap::new());
        let mut position = |resource: &Arc<Resource>| {
            *positions.entry(Arc::as_ptr(resource)).or_insert_with(|| {
                resources.push(StateResource::from(&**resource));
                u32::try_from(resources.len() - 1).expect("a file of at most 256 MiB has fewer than 2^32 resources")
            })
        };
        let groups = groups.iter().map(|(name, group)| StateGroup {
            name: name.to_string(),
            resources: group.kinds.values().flat_map(|set| set.iter()).map(&mut position).collect(),
        });
        let groups = groups.collect();
        let state = State {
            source_digest: source_digest.clone(),
            at: *at,
            revision: *revision,
            selectors: selectors.to_json().to_string(),
            resources,
            groups,
            paths: paths.iter().map(ToString::to_string).collect(),
        };
        let content = state.encode_to_vec();
        let header = format!("{MAGIC}{FORMAT}\n");
        [header.as_bytes(), &Sha256::digest(&content), &content].concat()
    }

    /// Reads back what [`Saved::encode`] wrote; no bytes make it panic.
    ///
    /// # Errors
    /// If the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let content = content(bytes)?;
        let state = State::decode(Bytes::copy_from_slice(content)).map_err(|_| Damage::Content("no such message"))?;
        let State { source_digest, at, revision, selectors, resources, groups, paths } = state;
        let selectors = Selectors::parse(&selectors).ok_or(Damage::Content("bad node groups"))?;
        let resources = resources.into_iter().map(StateResource::restore).collect::<Result<Vec<_>, _>>()?;
        let group = |StateGroup { name, resources: positions }: StateGroup| {
            let at = |position: u32| resources.get(usize::try_from(position).ok()?).cloned();
            let own = positions.into_iter().map(at).collect::<Option<Vec<Arc<Resource>>>>();
            Ok((name.into(), own.ok_or(Damage::Content("a resource is not there"))?))
        };
        let groups = groups.into_iter().map(group).collect::<Result<BTreeMap<_, _>, _>>()?;
        let next = Snapshot::next(None, groups, selectors);
        let (snapshot, _) = next.expect("a snapshot always follows none");
        let (snapshot, paths) =
            (Arc::new(Snapshot { revision, ..snapshot }), paths.into_iter().map(Into::into).collect());
        Ok(Self { snapshot, paths, source_digest, at: at.min(LATEST) })
    }
}

/// What the checksum is of, if it fits.
fn content(bytes: &[u8]) -> Result<&[u8], Damage> {
    let start = MAGIC.as_bytes();
    let Some(rest) = bytes.strip_prefix(start) else {
        return Err(if start.starts_with(bytes) { Damage::Truncated } else { Damage::Foreign });
    };
    let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Damage::Truncated)?;
    let (format, rest) = (&rest[..end], &rest[end + 1..]);
    if format != FORMAT.as_bytes() {
        let digits = format.len() < 10 && format.iter().all(u8::is_ascii_digit) && !format.is_empty();
        return Err(match std::str::from_utf8(format) {
            Ok(format) if digits => Damage::Format(format.to_owned()),
            _ => Damage::Foreign,
        });
    }
    let (checksum, content) = rest.split_at_checked(CHECKSUM).ok_or(Damage::Truncated)?;
    if Sha256::digest(content)[..] == *checksum { Ok(content) } else { Err(Damage::Checksum) }
}

impl From<&Resource> for StateResource {
    fn from(resource: &Resource) -> Self {
        let Resource { kind, name, version: _, any: _, origin, traits } = resource;
        let Origin { file, line, column } = origin;
        let Traits { on_demand, private, eds_service, clusters } = traits;
        Self {
            type_url: kind.type_url().to_owned(),
            name: name.to_string(),
            message: resource.message(),
            file: file.to_string(),
            line: *line,
            column: *column,
            on_demand: *on_demand,
            private: *private,
            eds_service: eds_service.as_ref().map(ToString::to_string),
            clusters: clusters.iter().map(ToString::to_string).collect(),
        }
    }
}

impl StateResource {
    fn restore(self) -> Result<Arc<Resource>, Damage> {
        let Self { type_url, name, message, file, line, column, on_demand, private, eds_service, clusters } = self;
        let kind = Kind::from_type_url(&type_url).ok_or(Damage::Content("an unknown type of resource"))?;
        let origin = Origin { file: file.into(), line, column };
        let clusters = clusters.into_iter().map(Into::into).collect();
        let traits = Traits { on_demand, private, eds_service: eds_service.map(Into::into), clusters };
        Ok(Arc::new(Resource::new(kind, name, &message, origin, traits)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::{DEFAULT_GROUP, Selector};

    fn resource(kind: Kind, name: &str, body: &[u8]) -> Arc<Resource> {
        let origin = Origin { file: "topologie é.yaml".into(), line: 7, column: 3 };
        let eds_service = (kind == Kind::Cluster).then(|| "service".into());
        Arc::new(Resource::new(
            kind,
            name,
            body,
            origin,
            Traits { on_demand: true, private: true, eds_service, clusters: vec!["c".into()] },
        ))
    }

    fn saved() -> Saved {
        let shared = resource(Kind::Cluster, "a", b"\x0a\x01a");
        let groups = BTreeMap::from([
            ("one".into(), vec![Arc::clone(&shared), resource(Kind::Secret, "key", b"PRIVATE")]),
            ("two".into(), vec![shared, resource(Kind::Listener, "l", b"")]),
            ("none".into(), vec![]),
        ]);
        let odd = "é\"\\\u{7f}\u{2028}\u{1F600}: #";
        let selectors = [("one", Selector::of_id(odd)), ("two", Selector::of_id("7")), ("none", Selector::catch_all())];
        let selectors = selectors.map(|(name, selector)| (name.into(), selector)).into_iter().collect();
        let (first, _) = Snapshot::next(None, groups, selectors).unwrap();
        let (snapshot, paths) = (Arc::new(Snapshot { revision: 41, ..first }), vec!["a".into(), "b/".into()]);
        Saved { snapshot, paths, source_digest: "abc".to_owned(), at: 5 }
    }

    #[test]
    fn what_was_saved_comes_back_equal_and_shared() {
        let before = saved();
        let after = Saved::decode(&before.encode()).unwrap();
        assert_eq!((after.source_digest.as_str(), after.at, after.snapshot.revision()), ("abc", 5, 41));
        assert_eq!(after.paths, before.paths);
        assert_eq!(after.snapshot.groups, before.snapshot.groups);
        assert_eq!(after.snapshot.selectors, before.snapshot.selectors);
        let of = |group: &str| Arc::clone(after.snapshot.group(group).unwrap().get(Kind::Cluster, "a").unwrap());
        assert!(Arc::ptr_eq(&of("one"), &of("two")));
        let (groups, selectors) = (before.snapshot.groups(), before.snapshot.selectors.clone());
        let all = |group: &Arc<super::super::Group>| group.kinds.values().flat_map(|set| set.iter().cloned()).collect();
        let groups: BTreeMap<_, Vec<_>> = groups.map(|group| (Arc::clone(group.name()), all(group))).collect();
        assert!(Snapshot::next(Some(&after.snapshot), groups, selectors).is_none(), "nothing differs from it");
        assert_eq!(after.encode(), before.encode());
    }

    #[test]
    fn what_is_not_what_was_written_is_told_apart() {
        let good = saved().encode();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let checked = |content: &[u8]| [b"chancery state 1\n", &Sha256::digest(content)[..], content].concat();
        let unknown = State { resources: vec![StateResource::default()], ..empty() };
        let missing = State { groups: vec![StateGroup { name: "g".to_owned(), resources: vec![0] }], ..empty() };
        let regex =
            State { selectors: r#"[{"name":"a","match":{"id":{"safe_regex":"("}}}]"#.to_owned(), ..State::default() };
        let table: [(&[u8], &str); 12] = [
            (b"", "it ends early"),
            (b"chancery st", "it ends early"),
            (b"chancery state 1\n", "it ends early"),
            (&good[..good.len() - 1], "its checksum does not fit its content"),
            (&flipped, "its checksum does not fit its content"),
            (b"version: 1\n", "it is not a state file of this program"),
            (b"chancery state x\n", "it is not a state file of this program"),
            (b"chancery state 2\nabc", "it has format 2, and this version reads format 1 only"),
            (&checked(b"\xff"), "its content is not what this version writes: no such message"),
            (&checked(&unknown.encode_to_vec()), "an unknown type of resource"),
            (&checked(&missing.encode_to_vec()), "a resource is not there"),
            (&checked(&regex.encode_to_vec()), "bad node groups"),
        ];
        for (bytes, message) in table {
            let error = Saved::decode(bytes).unwrap_err().to_string();
            assert!(error.contains(message), "{error}: {message}");
        }
    }

    fn empty() -> State {
        State { selectors: Selectors::default().to_json().to_string(), ..State::default() }
    }

    #[test]
    fn a_time_that_cannot_be_shown_is_moved() {
        let late = Saved { at: u64::MAX, ..saved() };
        assert_eq!(Saved::decode(&late.encode()).unwrap().at, LATEST);
        assert!(saved().snapshot.group(DEFAULT_GROUP).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic_and_no_changed_byte_goes_unnoticed(
            at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(), noise in any::<Vec<u8>>(),
        ) {
            let good = saved().encode();
            let mut changed = good.clone();
            *at.get_mut(&mut changed) = byte;
            prop_assert_eq!(Saved::decode(&changed).is_ok(), changed == good);
            prop_assert!(Saved::decode(&good[..cut.index(good.len())]).is_err());
            prop_assert!(Saved::decode(&[&good[..], &[byte]].concat()).is_err());
            prop_assert!(Saved::decode(&noise).is_err());
            // Behind a checksum that fits, every message is met with an answer.
            let mut content = changed.split_off(MAGIC.len() + FORMAT.len() + 1 + CHECKSUM);
            content.truncate(cut.index(content.len() + 1));
            content.extend(noise);
            let checksum = Sha256::digest(&content);
            _ = Saved::decode(&[b"chancery state 1\n", &checksum[..], &content].concat());
        }
    }
}
