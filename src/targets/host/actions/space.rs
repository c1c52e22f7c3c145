//! `host.file.free_space`.

use std::path::Path;

use crate::{
    domain::rules::{
        action::{ActionSpec, Changes, Done, Failure, OnResume},
        expr::{Type, Value},
    },
    targets::{
        action::{Action, Doing, On, member},
        host::{
            files::{self, blocking},
            places::Places,
        },
    },
};

/// `host.file.free_space`.
#[derive(Debug)]
pub(super) struct FreeSpace(ActionSpec);

impl FreeSpace {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![member()],
            output: Type::record([
                ("free_bytes", Type::Int),
                ("data_bytes", Type::Int),
                ("enough", Type::Bool),
            ]),
            ..ActionSpec::new(
                "host.file.free_space",
                Changes::Nothing,
                OnResume::Rerun,
                "Reads the free space for copies and data; enough is etcd.backups.min_free times the data.",
            )
        })
    }
}

impl Action for FreeSpace {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(async move {
            let places = on.places()?;
            let backups = &on.cluster.etcd.backups;
            let (dir, factor) = (backups.dir.clone(), backups.min_free_factor);
            blocking(move |_| free_space(&places, &dir, factor)).await
        })
    }
}

/// The copy goes where the backups are, the restored directory beside the data: the scarcer of the
/// two counts.
fn free_space(places: &Places, backups: &Path, factor: f64) -> Result<Done, Failure> {
    let free = files::free(backups)?.min(files::free(&places.data_dir)?);
    let wal = places.wal_dir.as_deref().map_or(Ok(0), files::size)?;
    let data = files::size(&places.data_dir)?.saturating_add(wal);
    #[expect(clippy::cast_precision_loss, reason = "a comparison of sizes needs no last byte")]
    let enough = free as f64 >= data as f64 * factor;
    let int = |bytes: u64| Value::Int(i64::try_from(bytes).unwrap_or(i64::MAX));
    let output = Value::map([
        ("free_bytes", int(free)),
        ("data_bytes", int(data)),
        ("enough", Value::Bool(enough)),
    ]);
    Ok(Done { output, changed: false })
}
