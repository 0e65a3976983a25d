//! Values for fields: what the field's rules allow, and what lies just beside it.

use chancery::envoy::extensions::{Category, Extension};
use chancery::envoy::{
    DynamicMessage, FieldDescriptor, FieldKind, FieldValue, MessageDescriptor, ReflectMessage as _, Schema,
};
use serde_json::{Map, Value, json};

use crate::support::random::Random;

/// How many messages a value may have inside each other; twice as many if they are required.
const DEPTH: usize = 5;

/// Fields whose `Any`, or the `TypedExtensionConfig` around it, takes extensions of one category.
const SLOTS: &[(&str, &str)] = &[
    ("envoy.config.accesslog.v3.AccessLog.typed_config", "envoy.access_loggers"),
    ("envoy.config.accesslog.v3.ExtensionFilter.typed_config", "envoy.access_loggers.extension_filters"),
    ("envoy.config.cluster.v3.Cluster.CustomClusterType.typed_config", "envoy.clusters"),
    ("envoy.config.cluster.v3.Filter.typed_config", "envoy.filters.upstream_network"),
    ("envoy.config.cluster.v3.LoadBalancingPolicy.Policy.typed_extension_config", "envoy.load_balancing_policies"),
    ("envoy.config.core.v3.HealthCheck.CustomHealthCheck.typed_config", "envoy.health_checkers"),
    ("envoy.config.core.v3.HealthCheck.event_logger", "envoy.health_check.event_sinks"),
    ("envoy.config.core.v3.SubstitutionFormatString.formatters", "envoy.formatter"),
    ("envoy.config.core.v3.TransportSocket.typed_config", "envoy.transport_sockets.upstream"),
    ("envoy.config.listener.v3.Filter.typed_config", "envoy.filters.network"),
    ("envoy.config.listener.v3.Listener.ConnectionBalanceConfig.extend_balance", "envoy.network.connection_balance"),
    ("envoy.config.listener.v3.ListenerFilter.typed_config", "envoy.filters.listener"),
    ("envoy.config.route.v3.RetryPolicy.RetryHostPredicate.typed_config", "envoy.retry_host_predicates"),
    ("envoy.config.route.v3.RetryPolicy.RetryPriority.typed_config", "envoy.retry_priorities"),
    ("envoy.config.route.v3.ClusterSpecifierPlugin.extension", "envoy.router.cluster_specifier_plugin"),
    ("envoy.config.route.v3.RouteAction.early_data_policy", "envoy.route.early_data_policy"),
    ("envoy.config.route.v3.RouteAction.path_rewrite_policy", "envoy.path.rewrite"),
    ("envoy.config.route.v3.RouteMatch.path_match_policy", "envoy.path.match"),
    ("envoy.config.trace.v3.Tracing.Http.typed_config", "envoy.tracers"),
    ("envoy.extensions.filters.http.compressor.v3.Compressor.compressor_library", "envoy.compression.compressor"),
    (
        "envoy.extensions.filters.http.decompressor.v3.Decompressor.decompressor_library",
        "envoy.compression.decompressor",
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.original_ip_detection_extensions",
        "envoy.http.original_ip_detection",
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.early_header_mutation_extensions",
        "envoy.http.early_header_mutation",
    ),
    ("envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter.typed_config", "envoy.filters.http"),
    ("envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension.typed_config", "envoy.request_id"),
    (
        "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig.SessionFilter.typed_config",
        "envoy.filters.udp.session",
    ),
];

const WORDS: &[&str] = &[
    "a",
    "backend",
    "x-header",
    ":path",
    "/",
    "/no/such/path",
    "*",
    "www.example.com",
    "127.0.0.1",
    "::1",
    "10.0.0.0/8",
    "http://127.0.0.1/a?b=c",
    "%REQ(a)%",
    "100%",
    "GET",
    "gzip",
    "é",
    "A B",
    "^a.*$",
    "(",
    "5xx",
    "200",
    "TLSv1_2",
];

/// Texts that rules on strings are about.
const ODD_WORDS: &[&str] =
    &["", " ", "a\nb", "a\rb", "a\0b", "\u{7f}", "\t", "ä:ö", ":", "a b", "\u{1f600}", "[::1]:80"];

const ODD_DURATIONS: &[&str] = &[
    "0s",
    "-1s",
    "0.000000001s",
    "0.001s",
    "1.0000000001s",
    "315576000000s",
    "315576000001s",
    "9223372036s",
    "9223372037s",
    "-0.5s",
    "1",
    "250ms",
    "1.s",
    ".5s",
    "+1s",
    "1e3s",
    "",
    "1S",
    " 1s",
];

/// Makes values; the choices are the random numbers'.
pub(super) struct Maker<'a> {
    pub(super) schema: &'a Schema,
    pub(super) random: &'a mut Random,
    /// How many of a hundred scalars lie beside what is allowed.
    pub(super) odd: usize,
}

/// The rule of a value: the name of its type among `validate.FieldRules`, and what it says.
struct Rule {
    all: Option<DynamicMessage>,
}

impl Rule {
    fn of(field: &FieldDescriptor) -> Self {
        let options = field.options();
        let extension = field.parent_message().parent_pool().get_extension_by_name("validate.rules");
        let rules = extension.filter(|extension| options.has_extension(extension));
        Self { all: rules.and_then(|extension| options.get_extension(&extension).as_message().cloned()) }
    }

    /// What it says of values of one type.
    fn part(&self, kind: &str) -> Option<DynamicMessage> {
        inner(self.all.as_ref()?, kind)
    }

    /// The rule of the elements of a list, or of the keys or values of a map.
    fn deeper(&self, kind: &str, name: &str) -> Self {
        Self { all: self.part(kind).and_then(|part| inner(&part, name)) }
    }

    fn requires(&self) -> bool {
        let required = |kind| self.part(kind).is_some_and(|part| get(&part, "required").is_some());
        required("message") || required("duration") || required("any") || required("timestamp")
    }

    fn number(&self, kind: &str, name: &str) -> Option<i128> {
        integer(&get(&self.part(kind)?, name)?)
    }

    /// Every number that the rule names for one type of number.
    fn numbers(&self, kind: &str) -> Vec<i128> {
        let names = ["const", "gte", "gt", "lte", "lt"];
        names.iter().filter_map(|name| self.number(kind, name)).collect()
    }
}

fn get(message: &DynamicMessage, name: &str) -> Option<FieldValue> {
    let field = message.descriptor().get_field_by_name(name)?;
    message.has_field(&field).then(|| message.get_field(&field).into_owned())
}

fn inner(message: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    get(message, name)?.as_message().cloned()
}

/// A number of any type; of a duration, its nanoseconds.
fn integer(value: &FieldValue) -> Option<i128> {
    Some(match value {
        FieldValue::I32(number) => i128::from(*number),
        FieldValue::I64(number) => i128::from(*number),
        FieldValue::U32(number) => i128::from(*number),
        FieldValue::U64(number) => i128::from(*number),
        #[expect(clippy::cast_possible_truncation, reason = "the bounds of doubles are small")]
        FieldValue::F32(number) => *number as i128,
        #[expect(clippy::cast_possible_truncation, reason = "the bounds of doubles are small")]
        FieldValue::F64(number) => *number as i128,
        FieldValue::Message(duration) => {
            let part = |number| duration.get_field_by_number(number).and_then(|value| integer(&value));
            part(1)? * 1_000_000_000 + part(2)?
        }
        _ => return None,
    })
}

/// The name that rules have for a scalar type.
fn rule_name(kind: &FieldKind) -> &'static str {
    match kind {
        FieldKind::Double => "double",
        FieldKind::Float => "float",
        FieldKind::Int32 | FieldKind::Sint32 | FieldKind::Sfixed32 => "int32",
        FieldKind::Int64 | FieldKind::Sint64 | FieldKind::Sfixed64 => "int64",
        FieldKind::Uint32 | FieldKind::Fixed32 => "uint32",
        FieldKind::Uint64 | FieldKind::Fixed64 => "uint64",
        FieldKind::Bool => "bool",
        FieldKind::String => "string",
        FieldKind::Bytes => "bytes",
        FieldKind::Enum(_) => "enum",
        FieldKind::Message(_) => "message",
    }
}

impl Maker<'_> {
    /// A message with what it requires and a few fields more.
    pub(super) fn message(&mut self, descriptor: &MessageDescriptor, depth: usize) -> Map<String, Value> {
        let mut map = Map::new();
        if depth > 2 * DEPTH {
            return map;
        }
        let required = descriptor.parent_pool().get_extension_by_name("validate.required");
        for oneof in descriptor.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let is_required = required
                .as_ref()
                .is_some_and(|required| oneof.options().get_extension(required).as_bool() == Some(true));
            let members: Vec<_> = oneof.fields().collect();
            if is_required || (depth < DEPTH && self.random.percent(15)) {
                let member = self.random.pick(&members).clone();
                map.insert(member.name().to_owned(), self.field(&member, depth + 1));
            }
        }
        for field in descriptor.fields() {
            if field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic()) {
                continue;
            }
            let rule = Rule::of(&field);
            let kind = field.kind();
            let name = rule_name(&kind);
            let needs = rule.requires()
                || rule.number("repeated", "min_items").is_some_and(|least| least > 0)
                || rule.number("map", "min_pairs").is_some_and(|least| least > 0)
                || (!field.supports_presence() && rule.part(name).is_some() && !field.is_list() && !field.is_map());
            let wanted = if depth < DEPTH { 12 } else { 0 };
            if (needs && !self.random.percent(self.odd / 4)) || self.random.percent(wanted) {
                map.insert(field.name().to_owned(), self.field(&field, depth + 1));
            }
        }
        map
    }

    /// A value for a field, whatever its cardinality.
    pub(super) fn field(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        let rule = Rule::of(field);
        let kind = field.kind();
        if field.is_map() {
            let Some(entry) = kind.as_message().cloned() else { return Value::Null };
            let least = rule.number("map", "min_pairs").unwrap_or(0).max(1);
            let mut map = Map::new();
            for _ in 0..least {
                let key = self.single(&entry.map_entry_key_field(), &rule.deeper("map", "keys"), depth);
                let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                map.insert(key, self.single(&entry.map_entry_value_field(), &rule.deeper("map", "values"), depth));
            }
            return map.into();
        }
        if !field.is_list() {
            return self.single(field, &rule, depth);
        }
        let least = rule.number("repeated", "min_items").unwrap_or(0).max(1);
        let most = rule.number("repeated", "max_items").filter(|most| *most < 300);
        let count = match most {
            Some(most) if self.is_odd() => most + 1,
            _ if self.is_odd() => 0,
            Some(most) if self.random.percent(10) => most,
            _ => least,
        };
        let items = rule.deeper("repeated", "items");
        (0..count).map(|_| self.single(field, &items, depth)).collect()
    }

    fn is_odd(&mut self) -> bool {
        self.random.percent(self.odd)
    }

    fn single(&mut self, field: &FieldDescriptor, rule: &Rule, depth: usize) -> Value {
        match field.kind() {
            FieldKind::Message(descriptor) => self.nested(field, &descriptor, rule, depth),
            kind => self.scalar(&kind, rule),
        }
    }

    fn scalar(&mut self, kind: &FieldKind, rule: &Rule) -> Value {
        match kind {
            FieldKind::Bool if self.random.percent(3) => json!("true"),
            FieldKind::Bool => self.random.percent(70).into(),
            FieldKind::String => self.text(rule).into(),
            FieldKind::Bytes => (*self.random.pick(&["YQ==", "YWJj", "", "YQ", "_-8=", "!", "a b"])).into(),
            FieldKind::Double | FieldKind::Float => self.double(rule_name(kind), rule),
            FieldKind::Enum(descriptor) => {
                let values: Vec<_> = descriptor.values().collect();
                let value = self.random.pick(&values);
                let (name, number) = (value.name().to_owned(), value.number());
                match self.random.below(24) {
                    0 => number.into(),
                    1 => 99.into(),
                    2 => name.to_ascii_lowercase().into(),
                    3 => "NO_SUCH_VALUE".into(),
                    4 => number.to_string().into(),
                    _ => name.into(),
                }
            }
            _ => self.integer(rule_name(kind), rule),
        }
    }

    fn integer(&mut self, kind: &str, rule: &Rule) -> Value {
        let bounds = rule.numbers(kind);
        let is_wide = kind.ends_with("64");
        let is_signed = kind.starts_with("int");
        let (low, high) = match (is_wide, is_signed) {
            (false, false) => (0, i128::from(u32::MAX)),
            (false, true) => (i128::from(i32::MIN), i128::from(i32::MAX)),
            (true, false) => (0, i128::from(u64::MAX)),
            (true, true) => (i128::from(i64::MIN), i128::from(i64::MAX)),
        };
        let number = if self.is_odd() {
            let mut odd: Vec<i128> = bounds.iter().flat_map(|bound| [bound - 1, *bound, bound + 1]).collect();
            odd.extend([0, -1, low, high, low - 1, high + 1]);
            *self.random.pick(&odd)
        } else {
            let at = |name, by: i128| rule.number(kind, name).map(|bound| bound + by);
            let fitting: Vec<i128> =
                [at("const", 0), at("gte", 0), at("gt", 1), at("lte", 0), at("lt", -1)].into_iter().flatten().collect();
            self.random.choose(&fitting).copied().unwrap_or(if self.random.percent(50) { 1 } else { 100 })
        };
        let as_json = i64::try_from(number).map(Value::from).or_else(|_| u64::try_from(number).map(Value::from));
        match self.random.below(40) {
            0 => json!(number.to_string()),
            1 => json!(format!("{number}.0")),
            2 => json!(1.5),
            3 => json!(1e3),
            4 => json!(true),
            _ => as_json.unwrap_or_else(|_| json!(number.to_string())),
        }
    }

    fn double(&mut self, kind: &str, rule: &Rule) -> Value {
        let bounds = rule.numbers(kind);
        if !self.is_odd() {
            return self
                .random
                .choose(&bounds)
                .map_or(json!(0.5), |bound| Value::from(i64::try_from(*bound).unwrap_or(1)));
        }
        let mut odd: Vec<Value> = vec![
            json!(0),
            json!(-0.0),
            json!(-1),
            json!(1e300),
            json!("NaN"),
            json!("Infinity"),
            json!("-Infinity"),
            json!("0.5"),
            json!("x"),
            json!(5e-324),
            json!("1e400"),
            json!(3.5e38),
        ];
        for bound in bounds {
            odd.extend([json!(format!("{bound}.001")), json!(format!("{}.999", bound - 1))]);
        }
        self.random.pick(&odd).clone()
    }

    fn text(&mut self, rule: &Rule) -> String {
        let length = |name| rule.number("string", name).and_then(|length| usize::try_from(length).ok());
        let part = rule.part("string");
        let listed = |name: &str| {
            let values = part.as_ref().and_then(|part| get(part, name));
            let values = values.and_then(|values| values.as_list().map(<[_]>::to_vec)).unwrap_or_default();
            values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let fixed = |name: &str| {
            let value = part.as_ref().and_then(|part| get(part, name));
            value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
        };
        if self.is_odd() {
            let limits = [length("min_len"), length("max_len"), length("max_bytes"), length("min_bytes")];
            let limits: Vec<usize> = limits.into_iter().flatten().filter(|limit| *limit < 100_000).collect();
            return match (self.random.below(4), self.random.choose(&limits).copied()) {
                (0, Some(limit)) => "a".repeat(limit + 1),
                (1, Some(limit)) => "a".repeat(limit.saturating_sub(1)),
                (2, Some(limit)) => "é".repeat(limit),
                _ => (*self.random.pick(ODD_WORDS)).to_owned(),
            };
        }
        let allowed = listed("in");
        if let Some(allowed) = self.random.choose(&allowed) {
            return allowed.clone();
        }
        let (prefix, suffix) = (fixed("prefix"), fixed("suffix"));
        let word = *self.random.pick(WORDS);
        let least = length("min_len").or(length("min_bytes")).unwrap_or(0);
        let word = if word.len() < least { "a".repeat(least) } else { word.to_owned() };
        format!("{prefix}{word}{suffix}")
    }

    fn duration(&mut self, rule: &Rule) -> Value {
        let bounds = rule.numbers("duration");
        let shown = |nanos: i128| {
            let sign = if nanos < 0 { "-" } else { "" };
            let nanos = nanos.abs();
            format!("{sign}{}.{:09}s", nanos / 1_000_000_000, nanos % 1_000_000_000)
        };
        if self.is_odd() {
            let mut odd: Vec<String> = ODD_DURATIONS.iter().map(ToString::to_string).collect();
            odd.extend(bounds.iter().flat_map(|bound| [bound - 1, *bound, bound + 1]).map(shown));
            return self.random.pick(&odd).clone().into();
        }
        let least = rule.number("duration", "gte").or(rule.number("duration", "gt").map(|bound| bound + 1_000_000));
        least.filter(|least| *least > 0).map_or_else(|| "1s".to_owned(), shown).into()
    }

    fn nested(&mut self, field: &FieldDescriptor, descriptor: &MessageDescriptor, rule: &Rule, depth: usize) -> Value {
        let name = descriptor.full_name();
        match name.strip_prefix("google.protobuf.") {
            Some("Duration") => self.duration(rule),
            Some("Timestamp") => (*self.random.pick(&[
                "2026-01-31T12:00:00Z",
                "2026-01-31",
                "0001-01-01T00:00:00Z",
                "1969-12-31T23:59:59.5+01:00",
            ]))
            .into(),
            Some("FieldMask") => (*self.random.pick(&["a,b", "aB.c", "a_b", ""])).into(),
            Some("Struct") => {
                self.random.pick(&[json!({}), json!({"a": [1, {"b": null}], "c": "d"}), json!([])]).clone()
            }
            Some("Value") => self.random.pick(&[json!(null), json!(1e300), json!("a"), json!([1]), json!({})]).clone(),
            Some("ListValue") => self.random.pick(&[json!([]), json!([null, 1]), json!({})]).clone(),
            Some("Empty") => json!({}),
            Some("Any") => self.any(field, depth),
            Some(wrapper) if wrapper.ends_with("Value") => {
                let kind = descriptor.get_field(1).expect("a wrapper has a value").kind();
                self.scalar(&kind, rule)
            }
            _ if name == "envoy.config.core.v3.TypedExtensionConfig" => {
                json!({"name": "extension", "typed_config": self.any(field, depth)})
            }
            _ => self.message(descriptor, depth).into(),
        }
    }

    /// An extension that fits, or now and then one that does not.
    fn any(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        let known = SLOTS.iter().find(|(name, _)| *name == field.full_name()).map(|(_, category)| *category);
        let extensions = self.schema.extensions();
        let per_route = field.full_name().contains("TypedPerFilterConfigEntry");
        let fitting: Vec<&Extension> = match known {
            Some("envoy.transport_sockets.upstream") if self.random.percent(50) => {
                extensions.of(Category::DOWNSTREAM_TRANSPORT_SOCKET)
            }
            Some(category) => extensions.in_category(category).iter().collect(),
            None => extensions.of(Category::HTTP_FILTER),
        };
        let message =
            |extension: &&Extension| if per_route { extension.per_route.clone() } else { extension.message.clone() };
        let messages: Vec<String> = fitting.iter().filter_map(message).collect();
        let Some(name) = self.random.choose(&messages).cloned() else { return json!({}) };
        let Some(descriptor) = self.schema.message(&name) else { return json!({}) };
        match self.random.below(40) {
            0 => json!({}),
            1 => json!({"@type": name}),
            2 => json!({"@type": "type.googleapis.com/acme.Filter"}),
            3 => json!({"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"}),
            4 => json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": {}}),
            5 => json!({"@type": "type.googleapis.com/google.protobuf.Empty"}),
            6 => json!({
                "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
                "type_url": format!("type.googleapis.com/{name}"),
                "value": self.message(&descriptor, depth + 1)
            }),
            _ => {
                let mut map = Map::new();
                map.insert("@type".to_owned(), format!("type.googleapis.com/{name}").into());
                map.extend(self.message(&descriptor, depth + 1));
                map.into()
            }
        }
    }
}
