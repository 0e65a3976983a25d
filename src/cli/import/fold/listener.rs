//! Listeners and filter chains.

use serde_json::Value;

use super::http::MANAGER;
use super::short::is_extension;
use super::{Folder, Object, payload};
use crate::expand;

pub(super) const LISTENER: &str = "envoy.config.listener.v3.Listener";
pub(super) const CHAIN: &str = "envoy.config.listener.v3.FilterChain";

const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
const COMMON_TLS: &str = "common_tls_context";

/// Fields of the connection manager that stand beside it.
const BESIDE: [&str; 4] = ["rds", "http_filters", "virtual_hosts", "routes"];

impl Folder<'_> {
    pub(super) fn listener_before(&mut self, json: &mut Object) -> Object {
        let chains = json.get("filter_chains").and_then(Value::as_array).map_or(0, Vec::len);
        self.chains = chains + usize::from(json.contains_key("default_filter_chain"));
        self.scope = json.get("name").and_then(Value::as_str).map(str::to_owned);
        let mut out = Object::new();
        let api = json.get("api_listener").and_then(|api| payload(api.get("api_listener")?));
        if let Some((MANAGER, fields)) = api
            && self.on("api_listener")
        {
            json.shift_remove("api_listener");
            out.insert("api_listener".to_owned(), self.named(MANAGER, fields));
        }
        out
    }

    /// The content of an only chain stands in the listener.
    pub(super) fn listener_after(&mut self, mut json: Object) -> Value {
        let hoisted = expand::hoisted(LISTENER);
        if self.chains == 1
            && let Some(Value::Array(chains)) = json.get("filter_chains")
            && let [Value::Object(chain)] = chains.as_slice()
            && !chain.is_empty()
            && chain.keys().all(|key| hoisted.contains(&key.as_str()))
            && self.on("only-chain")
            && let Some(Value::Array(mut chains)) = json.shift_remove("filter_chains")
            && let Some(Value::Object(chain)) = chains.pop()
        {
            json.extend(chain);
        }
        Value::Object(json)
    }

    pub(super) fn chain_before(&mut self, json: &mut Object) -> Object {
        if self.chains > 1 {
            let server_names = json.get("filter_chain_match").and_then(|it| it.get("server_names")?.get(0));
            let own = json.get("name").or(server_names).and_then(Value::as_str);
            // Of the default chain nothing says here that it is that one; what is not derived is written.
            self.scope = self.scope.as_ref().zip(own).map(|(listener, own)| format!("{listener}/{own}"));
        }
        let mut out = self.tls_context(CHAIN, json);
        let last =
            json.get("filters").and_then(Value::as_array).and_then(|filters| filters.last()?.as_object()).cloned();
        let Some(last) = last else { return out };
        let Some((message, fields)) = last.get("typed_config").and_then(payload) else { return out };
        if message == MANAGER
            && is_extension(&last, "envoy.filters.network.http_connection_manager")
            && self.on("http_connection_manager")
        {
            if let Value::Object(mut manager) = self.named(MANAGER, fields) {
                let beside = BESIDE.iter().filter_map(|key| Some(((*key).to_owned(), take_set(&mut manager, key)?)));
                let beside: Object = beside.collect();
                // Without any of them, nothing would say that there is a connection manager.
                if !manager.is_empty() || beside.is_empty() {
                    out.insert("http_connection_manager".to_owned(), Value::Object(manager));
                }
                out.extend(beside);
            }
            pop_filter(json);
        } else if message == TCP_PROXY && is_extension(&last, "envoy.filters.network.tcp_proxy") && self.on("tcp_proxy")
        {
            out.insert("tcp_proxy".to_owned(), self.named(TCP_PROXY, fields));
            pop_filter(json);
        }
        out
    }

    /// A TLS transport socket as the fields of its context and of the one that is common to both sides.
    pub(super) fn tls_context(&mut self, owner: &str, json: &mut Object) -> Object {
        let mut out = Object::new();
        let socket = json.get("transport_socket").and_then(Value::as_object);
        let Some(socket) = socket.filter(|it| is_extension(it, "envoy.transport_sockets.tls")) else { return out };
        let Some((message, fields)) = socket.get("typed_config").and_then(payload) else { return out };
        let side = if owner == CHAIN { "DownstreamTlsContext" } else { "UpstreamTlsContext" };
        if !message.ends_with(side) || !expand::hoisted(owner).contains(&"tls_context") || !self.on("tls_context") {
            return out;
        }
        let Value::Object(mut context) = self.named(message, fields) else { return out };
        match context.shift_remove(COMMON_TLS) {
            Some(Value::Object(common)) => context.extend(common),
            Some(other) => _ = context.insert(COMMON_TLS.to_owned(), other),
            None => {}
        }
        json.shift_remove("transport_socket");
        out.insert("tls_context".to_owned(), Value::Object(context));
        out
    }
}

/// A field that is set; an explicit `null` stays where it is understood.
fn take_set(json: &mut Object, key: &str) -> Option<Value> {
    json.get(key).filter(|value| !value.is_null())?;
    json.shift_remove(key)
}

fn pop_filter(json: &mut Object) {
    if let Some(Value::Array(filters)) = json.get_mut("filters") {
        filters.pop();
        if filters.is_empty() {
            json.shift_remove("filters");
        }
    }
}
