//! The HTTP connection manager and route tables.

use serde_json::{Value, json};

use super::short::is_extension;
use super::{Folder, Object, is, only};
use crate::envoy::Kind;

pub(super) const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
pub(super) const TABLE: &str = "envoy.config.route.v3.RouteConfiguration";
pub(super) const VIRTUAL_HOST: &str = "envoy.config.route.v3.VirtualHost";
pub(super) const ROUTE: &str = "envoy.config.route.v3.Route";
pub(super) const MATCH: &str = "envoy.config.route.v3.RouteMatch";

const ROUTER: &str = "envoy.filters.http.router";
const ROUTER_URL: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";

impl Folder<'_> {
    /// Without the router, which is added where it is missing.
    pub(super) fn manager_before(&mut self, json: &mut Object) -> Object {
        let Some(filters) = json.get_mut("http_filters").and_then(Value::as_array_mut) else { return Object::new() };
        let is_router = |filter: &Value| {
            filter.as_object().is_some_and(|filter| is_extension(filter, ROUTER))
                && filter.get("typed_config") == Some(&json!({"@type": ROUTER_URL}))
        };
        if filters.last().is_some_and(is_router) && self.on("router") {
            filters.pop();
            if filters.is_empty() {
                json.shift_remove("http_filters");
            }
        }
        Object::new()
    }

    /// The table that `rds` refers to takes its place, where it can be written there.
    pub(super) fn manager_after(&mut self, mut json: Object) -> Value {
        self.stat_prefix(&mut json);
        let name = json.get("rds").and_then(Value::as_str).map(str::to_owned);
        if let Some(name) = name
            && let Some(table) = self.inside.get(&(Kind::Route, name.clone())).cloned()
            && table.keys().all(|key| key == "name" || key == "virtual_hosts")
            && self.on("inline-table")
            && let Value::Object(mut table) = self.named(TABLE, table)
        {
            let content = ["routes", "virtual_hosts"].into_iter().find_map(|key| Some((key, table.shift_remove(key)?)));
            let Some((key, content)) = content else { return Value::Object(json) };
            self.inside.remove(&(Kind::Route, name.clone()));
            if self.scope.as_deref() == Some(name.as_str()) {
                json.shift_remove("rds");
            }
            json.insert(key.to_owned(), content);
        }
        Value::Object(json)
    }

    /// Without the name for statistics that would be derived.
    pub(super) fn stat_prefix(&mut self, json: &mut Object) {
        let derived = self.scope.as_ref().map(|scope| scope.replace(['/', '.', '*'], "_"));
        if derived.is_some_and(|derived| is(json, "stat_prefix", &derived)) && self.on("stat_prefix") {
            json.shift_remove("stat_prefix");
        }
    }

    pub(super) fn table(&mut self, mut json: Object) -> Value {
        if let Some(Value::Array(hosts)) = json.get("virtual_hosts")
            && let [Value::Object(host)] = hosts.as_slice()
            && let Some(routes) = only(host, "routes").cloned()
            && self.on(TABLE)
        {
            json.shift_remove("virtual_hosts");
            json.insert("routes".to_owned(), routes);
        }
        Value::Object(json)
    }

    pub(super) fn virtual_host(&mut self, mut json: Object) -> Value {
        let any = json.get("domains") == Some(&json!(["*"])) && is(&json, "name", "local_service");
        let first = json.get("domains").and_then(|domains| domains.get(0)).cloned();
        if any && self.on(VIRTUAL_HOST) {
            json.shift_remove("name");
            json.shift_remove("domains");
        } else if first.is_some() && json.get("name") == first.as_ref() && self.on(VIRTUAL_HOST) {
            json.shift_remove("name");
        }
        Value::Object(json)
    }

    pub(super) fn route(&mut self, mut json: Object) -> Value {
        if json.get("match").and_then(Value::as_object).is_some_and(Object::is_empty) && self.on(ROUTE) {
            json.shift_remove("match");
        }
        Value::Object(json)
    }

    pub(super) fn route_match(&mut self, mut json: Object) -> Value {
        if is(&json, "prefix", "/") && self.on(MATCH) {
            json.shift_remove("prefix");
            return Value::Object(json);
        }
        match only(&json, "prefix") {
            Some(prefix) if self.on(MATCH) => prefix.clone(),
            _ => Value::Object(json),
        }
    }
}
