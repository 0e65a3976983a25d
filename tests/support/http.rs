//! A plain HTTP client.

use std::time::Duration;

use serde_json::Value;

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// A client that gives up on a server which does not answer.
pub(crate) fn client() -> reqwest::Client {
    builder().build().expect("no TLS to set up")
}

/// The same with a new connection for each request.
pub(crate) fn client_that_reconnects() -> reqwest::Client {
    builder().pool_max_idle_per_host(0).build().expect("no TLS to set up")
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy()
}

/// One request on a connection of its own.
pub(crate) async fn get(url: &str) -> Result<Answer, String> {
    answer(client().get(url)).await
}

/// One request that asks for something to be done.
pub(crate) async fn post(url: &str) -> Result<Answer, String> {
    answer(client().post(url)).await
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Answer, String> {
    let response = request.send().await.map_err(|error| reason(&error))?;
    let status = response.status().as_u16();
    let body = response.text().await.map_err(|error| reason(&error))?;
    Ok(Answer { status, body })
}

/// The JSON that a URL answers with, whatever the status.
pub(crate) async fn get_json(url: &str) -> Result<Value, String> {
    let answer = get(url).await?;
    serde_json::from_str(&answer.body).map_err(|error| format!("{url}: {error}: {:?}", answer.body))
}

/// An error with the causes that its own text leaves out.
pub(crate) fn reason(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
