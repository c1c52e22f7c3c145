//! What Prometheus scraped of the members: `up`, and the highest revision seen.
//!
//! A sample counts only while it is fresher than three scrape intervals; the interval is read off
//! the samples themselves. A series that is not there says nothing.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use reqwest::Client;
use serde::Deserialize;

use super::http::{Silence, authority, get_api};
use crate::domain::{
    base::{id::MemberName, time::Time},
    etcd::reading::Cause,
    inventory::{Cluster, Endpoint, Member},
};

/// Scrape intervals that a sample may be old.
const FRESH_INTERVALS: f64 = 3.0;

#[derive(Deserialize)]
struct Answer {
    data: Results,
}

#[derive(Deserialize)]
struct Results {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    value: Option<(f64, String)>,
}

/// `up` of each member's targets: true if any fresh one is up.
pub(crate) async fn up(
    client: &Client,
    endpoint: &Endpoint,
    cluster: &Cluster,
) -> Result<BTreeMap<MemberName, Result<bool, Silence>>, Silence> {
    let query = format!("up{{instance=~\"{}\"}}[5m]", pattern(cluster));
    let series = ask(client, endpoint, &[("query", query)]).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let of = |member: &Member| {
        let ours = |series: &&Series| {
            series
                .metric
                .get("instance")
                .is_some_and(|name| instances(member).any(|one| one == name))
        };
        let mut answer =
            Err(Silence { cause: Cause::Vanished, detail: "Prometheus has no such target".into() });
        for one in series.iter().filter(ours) {
            answer = match (answer, fresh(&one.values, now)) {
                (Ok(true), _) | (_, Ok(true)) => Ok(true),
                (_, Ok(false)) | (Ok(false), _) => Ok(false),
                (Err(_), Err(stale)) => Err(stale),
            };
        }
        (member.name.clone(), answer)
    };
    Ok(cluster.etcd.members.iter().map(of).collect())
}

/// The last sample, if it is fresh at `now` (seconds).
fn fresh(samples: &[(f64, String)], now: f64) -> Result<bool, Silence> {
    let stale = |detail: String| Silence { cause: Cause::Stale, detail };
    let Some((at, value)) = samples.last() else { return Err(stale("no sample".into())) };
    let mut gaps: Vec<f64> = samples.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    gaps.sort_by(f64::total_cmp);
    let Some(interval) = gaps.get(gaps.len() / 2) else {
        return Err(stale("a single sample: its scrape interval is not known".into()));
    };
    let age = now - at;
    if age > interval * FRESH_INTERVALS {
        return Err(stale(format!(
            "the last sample is {age:.0} s old, scraped every {interval:.0} s"
        )));
    }
    Ok(value == "1")
}

/// The highest revision any member showed in `[from, until]`.
pub(crate) async fn revision_max(
    client: &Client,
    endpoint: &Endpoint,
    cluster: &Cluster,
    from: Time,
    until: Time,
) -> Option<i64> {
    let span = until.since(from).as_millis().max(1);
    let query = format!(
        "max(max_over_time(etcd_debugging_mvcc_current_revision{{instance=~\"{}\"}}[{span}ms]))",
        pattern(cluster)
    );
    let at = format!("{}.{:03}", until.0.div_euclid(1000), until.0.rem_euclid(1000));
    let series = ask(client, endpoint, &[("query", query), ("time", at)]).await.ok()?;
    let (_, value) = series.first()?.value.as_ref()?;
    super::etcd::metrics::whole(value)
}

async fn ask(
    client: &Client,
    endpoint: &Endpoint,
    query: &[(&str, String)],
) -> Result<Vec<Series>, Silence> {
    let body = get_api(client, endpoint, "/api/v1/query", query).await?;
    let answer: Answer = serde_json::from_slice(&body).map_err(|error| Silence {
        cause: Cause::Unsupported,
        detail: format!("its answer cannot be read: {error}"),
    })?;
    Ok(answer.data.result)
}

fn instances(member: &Member) -> impl Iterator<Item = &str> {
    std::iter::once(&member.client).chain(&member.metrics).map(|url| authority(url))
}

/// A pattern of all members' instances, as a string of a query holds it.
fn pattern(cluster: &Cluster) -> String {
    let all: Vec<String> =
        cluster.etcd.members.iter().flat_map(instances).map(regex::escape).collect();
    all.join("|").replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(times: &[f64], value: &str) -> Vec<(f64, String)> {
        times.iter().map(|at| (*at, value.to_owned())).collect()
    }

    /// Rows: E9.
    #[test]
    fn a_sample_older_than_three_intervals_says_nothing() {
        assert!(!fresh(&samples(&[70.0, 85.0, 100.0], "0"), 130.0).unwrap());
        assert!(fresh(&samples(&[70.0, 85.0, 100.0], "1"), 130.0).unwrap());
        assert_eq!(
            fresh(&samples(&[70.0, 85.0, 100.0], "1"), 146.0).unwrap_err().cause,
            Cause::Stale
        );
        assert_eq!(fresh(&samples(&[100.0], "1"), 101.0).unwrap_err().cause, Cause::Stale);
        assert_eq!(fresh(&[], 1.0).unwrap_err().cause, Cause::Stale);
    }

    #[test]
    fn instances_are_matched_literally() {
        let cluster = crate::targets::testing::mk_cluster(
            std::path::Path::new("/x"),
            &[1, 2, 3],
            crate::targets::testing::no_tools(),
        );
        assert_eq!(pattern(&cluster), r"127\\.0\\.0\\.1:1|127\\.0\\.0\\.1:3");
    }
}
