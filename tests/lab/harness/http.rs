//! Small HTTP calls with a bound on time, and the text format of metrics.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use super::{use_ring, wait_for};

const TIMEOUT: Duration = Duration::from_secs(15);

/// Status code and body; 0 and the reason when there was no answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// HTTP status, or 0.
    pub(crate) code: u16,
    /// The body as text.
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {} {}", self.code, self.text))
    }
}

/// GET.
pub(crate) fn get(url: &str) -> Answer {
    send(request(Method::GET, url))
}

/// POST with a JSON body.
pub(crate) fn post(url: &str, body: &Value) -> Answer {
    send(request(Method::POST, url).json(body))
}

/// A request to be finished by the caller, for headers and bodies that are not JSON.
pub(crate) fn request(method: Method, url: &str) -> RequestBuilder {
    use_ring();
    // Without trust roots: the tests speak plain HTTP here.
    let client = Client::builder().timeout(TIMEOUT).no_proxy().tls_certs_only([]).build().unwrap();
    client.request(method, url)
}

/// Sends it.
pub(crate) fn send(request: RequestBuilder) -> Answer {
    wait_for(async {
        let answer = async {
            let response = request.send().await?;
            let code = response.status().as_u16();
            Ok::<_, reqwest::Error>(Answer { code, text: response.text().await? })
        };
        answer.await.unwrap_or_else(|error| Answer { code: 0, text: format!("{error:?}") })
    })
}

/// Whether `url` answers 200 now.
pub(crate) fn is_ready(url: &str) -> bool {
    get(url).code == 200
}

/// The value of the only series of `name` that carries all of `labels`.
///
/// # Panics
///
/// When more than one does: the test then asks for too little.
#[track_caller]
pub(crate) fn series(metrics: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    let mut found = metrics.lines().filter_map(|line| {
        let (series, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        let of_this_name = series.is_empty() || series.starts_with('{');
        let matches = of_this_name && wanted.iter().all(|label| has_label(series, label));
        matches.then(|| value.parse::<f64>().unwrap())
    });
    let first = found.next();
    assert!(found.next().is_none(), "several series of {name} carry {labels:?}");
    first
}

fn has_label(series: &str, label: &str) -> bool {
    series.match_indices(label).any(|(at, _)| series[..at].ends_with(['{', ',']))
}
