//! What the disk has, read back at a start.
//!
//! While the store reads the next rows, others are decoded: a start with a million alerts takes about
//! as long as reading them does, and holds them once.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, TryStreamExt as _};

use super::{limits::Limits, roll::Roll, table::AlertTable};
use crate::{
    domain::{
        alert::{Alert, Alerts, Key},
        base::time::Time,
        incident::owners::Owners,
    },
    engine::chain,
    store::{AlertRow, StoreError},
};

/// Chunks of rows that are decoded at once. The store's own thread reads beside them.
const DECODED_AT_ONCE: usize = 4;

/// The alerts of these rows.
pub(super) async fn table(
    rows: impl Stream<Item = Result<Vec<AlertRow>, StoreError>>,
    owners: &Arc<Owners>,
    limits: Limits,
    now: Time,
) -> Result<AlertTable, StoreError> {
    let roll = Arc::new(Roll::new(Arc::clone(owners)));
    let decode = |rows: Result<Vec<AlertRow>, StoreError>| {
        let roll = Arc::clone(&roll);
        async move {
            let rows = rows?;
            let decoded = tokio::task::spawn_blocking(move || decode(rows, &roll, now));
            Ok(decoded.await.expect("decoding rows does not panic"))
        }
    };
    let filed: Vec<_> = rows.map(decode).buffer_unordered(DECODED_AT_ONCE).try_concat().await?;
    Ok(AlertTable::new(Alerts::load(filed, limits.bounds()), roll))
}

/// One that cannot be read is named and left out: its sender repeats it.
fn decode(rows: Vec<AlertRow>, roll: &Roll, now: Time) -> Vec<(Key, Arc<Alert>)> {
    let decoded = rows.into_iter().filter_map(|row| {
        let alert = Alert::from_row(row.id, &row.body?, now);
        let failed = |error| tracing::warn!(row.id, error = %chain(&error), "alert left out");
        let alert = alert.map_err(failed).ok()?;
        let owner = roll.number(&alert.labels);
        Some(alert.filed(owner))
    });
    decoded.collect()
}
