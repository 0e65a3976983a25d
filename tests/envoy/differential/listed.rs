//! Where the two verdicts differ, and why that is meant.

/// A kind of refusal that is Envoy's alone; neither its parser nor its field rules may make one.
#[derive(Debug)]
pub(super) struct Lenient {
    /// Parts of Envoy's messages.
    pub(super) said: &'static [&'static str],
    pub(super) why: &'static str,
}

/// A kind of refusal that is ours alone.
#[derive(Debug)]
pub(super) struct Strict {
    pub(super) code: &'static str,
    /// A part of the finding's message.
    pub(super) said: &'static str,
    pub(super) why: &'static str,
}

pub(super) const LENIENT: &[Lenient] = &[
    Lenient {
        said: &[
            "Didn't find a registered",
            "no factory found for a required type URL",
            "does not have an object factory",
            "unknown AI filter",
            "no listener factory found for a required type URL",
            "Unknown address resolver",
            "does not support header validator extensions",
        ],
        why: "which extensions there are is for the binary to say: a custom build has others, so that we only warn",
    },
    Lenient {
        said: &[
            "Environment variable doesn't exist",
            "does not exist",
            "Invalid path: ",
            "AWS region is not set",
            "no local cluster name is present",
            "Unknown static secret",
            "Unknown static certificate validation context",
            "not found in static bootstrap resources",
        ],
        why: "it depends on the host, or on the bootstrap, of the proxy",
    },
    Lenient {
        said: &[
            "LEDS is only supported when EDS is used",
            "FCDS requires a filter chain matcher",
            "cannot create an EDS cluster without an EDS config",
            "vhds: only 'DELTA_GRPC' or 'ADS'",
            "Missing config source specifier",
            "is configured with unsupported dynamic con",
        ],
        why: "how parts of resources are delivered apart: of these ways, only those that Chancery serves are checked",
    },
    Lenient {
        said: &[
            "internal_listener field instead of address",
            "can set ipv4_compat",
            "contains unimplemented fields",
            "IP resolver can't handle port specifier",
            "is the last filter in a network filter chain",
        ],
        why: "Envoy's listeners put their addresses and filters together when they are added; nothing there is a field rule",
    },
    Lenient {
        said: &[
            "Failed to load incomplete private key",
            "Failed to load incomplete certificate",
            "more than a single OCSP response",
        ],
        why: "what a certificate is worth shows when it is loaded; that is checked where all of it stands in the topology",
    },
    Lenient {
        said: &[
            "Cannot use hostname for consistent hashing",
            "clusters must NOT have a custom resolver name set",
            "find a registered load balancer factory implementation",
            "must have auto_sni and auto_san_validation",
            "metadata type is not supported",
            "Locality weight aware subset LB requires",
            "upstream binding config has extra/additional source addresses",
            "range: expecting start < end",
        ],
        why: "Envoy's clusters put their options together when they are added; nothing there is a field rule",
    },
    Lenient {
        said: &[
            "Both append and append_action are set",
            "is the last filter in a http filter chain",
            "path_match_policy.path_template",
        ],
        why: "Envoy's routes put their parts together when they are loaded; nothing there is a field rule",
    },
    Lenient {
        said: &[
            "must be specified in dynamic_module_config",
            "script load error",
            "max_early_data_bytes must be set",
            "Duration out-of-range",
            "unsupported DataSource case",
            "Cannot specify both header and cookie",
            "both mutiple_route_config and route_config",
            "Invalid oauth2 client secret configuration",
            "invalid HMAC secret configuration",
            "Secret type not implemented",
            "Descriptor set not set",
            "cannot have both `value_format` and `value_fixed`",
            "Required provider ['']",
            "invalid HTTP range",
            "Route table can only match on request headers",
        ],
        why: "only the code of the extension knows",
    },
    Lenient {
        said: &["panic: not implemented"],
        why: "Envoy breaks on a health check of an internal address, though only when it validates: a server starts",
    },
    Lenient {
        said: &["Illegal Zstd dictionary"],
        why: "Envoy ends itself over bytes that are no dictionary, which only the library can tell",
    },
    Lenient {
        said: &["panic: corrupted enum"],
        why: "Envoy breaks inside an extension, on a configuration without any value that could be at fault",
    },
];

pub(super) const STRICT: &[Strict] = &[
    Strict {
        code: "duplicate-field",
        said: "is given twice, as",
        why: "Envoy takes the last of the two names of a field, which is not what anyone means",
    },
    Strict {
        code: "enum",
        said: "` is not a value of",
        why: "Envoy takes the number of a value in quotes; quotes are for names",
    },
    Strict {
        code: "grpc-server",
        said: "refuses",
        why: "Envoy is not the one that asks for this listener: a gRPC server is",
    },
    Strict {
        code: "logical-dns-endpoints",
        said: "needs exactly one endpoint, not 0",
        why: "Envoy counts endpoints without an address, of which there is nothing to resolve",
    },
    Strict {
        code: "missing-name",
        said: "this Listener has no `name`",
        why: "a static listener gets a name of its own, but over xDS a resource is known by its name",
    },
    Strict {
        code: "type",
        said: "expected a list, got a mapping",
        why: "Envoy takes one element for a list of it; in YAML that is more often a forgotten dash",
    },
    Strict {
        code: "type",
        said: "expected true or false, got the string",
        why: "Envoy takes the words in quotes as well; YAML has them without",
    },
    Strict {
        code: "type",
        said: ", got a list",
        why: "Envoy takes a list in a list for its elements; in YAML that is more often a dash too many",
    },
    Strict {
        code: "type",
        said: "expected a string, got null",
        why: "Envoy leaves null out of a list; in YAML that is more often a forgotten value",
    },
    Strict {
        code: "type",
        said: "null is not allowed here",
        why: "Envoy leaves null out of a list; in YAML that is more often a forgotten value",
    },
    Strict {
        code: "unknown-cluster",
        said: "is not defined",
        why: "Envoy answers 503 where a cluster is missing; here it is known that it will never come",
    },
    Strict {
        code: "unknown-extension-config",
        said: "is not defined",
        why: "Envoy waits for what is discovered; here it is known that it will never come",
    },
];
