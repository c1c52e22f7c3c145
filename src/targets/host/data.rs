//! `etcd.data_*` and `host.file.free_space`: a member's data is renamed or copied, never deleted.

use super::{
    copy::copy,
    files::{self, blocking, exists},
    places::{Part, Places, member, place},
    service::must_be_gone,
};
use crate::domain::{
    etcd::evidence::DataState,
    inventory::Cluster,
    rules::{
        action::{Call, Done, ErrorKind, Failure, Probed},
        expr::Value,
    },
};

/// The places that data is renamed to and from.
const BESIDE: [&str; 3] = ["old", "new", "failed"];
/// The places that data is copied to.
const COPIES: [&str; 2] = ["scratch", "backup"];

/// The call's own reading of what it is about to change.
pub(crate) fn before(cluster: &Cluster, call: &Call) -> Result<Value, Failure> {
    let member = member(cluster, call)?;
    let places = Places::new(cluster, member, call.run);
    let data = files::data(&places)?;
    let mark = data.mark.map(|mark| ("mark", Value::str(mark)));
    Ok(Value::map([("data", Value::str(data.state.label()))].into_iter().chain(mark)))
}

/// Does it.
pub(crate) async fn act(cluster: &Cluster, call: &Call) -> Result<Done, Failure> {
    let member = member(cluster, call)?;
    let places = Places::new(cluster, member, call.run);
    if call.action == "host.file.free_space" {
        let (dir, factor) =
            (cluster.etcd.backups.dir.clone(), cluster.etcd.backups.min_free_factor);
        return blocking(move |_| free_space(&places, &dir, factor)).await;
    }
    if call.action == "etcd.data_in" && is_home(&places, place(call, "from", &BESIDE)?)? {
        // Nothing is moved: a member that runs again on its own data is no obstacle.
        return Ok(Done { output: put_back(&places), changed: false });
    }
    must_be_gone(member).await?;
    match call.action.as_str() {
        "etcd.data_out" => {
            let to = place(call, "to", &BESIDE)?;
            blocking(move |_| data_out(&places, to)).await
        }
        "etcd.data_in" => {
            let from = place(call, "from", &BESIDE)?;
            blocking(move |_| data_in(&places, from)).await
        }
        "etcd.data_copy" => {
            let to = place(call, "to", &COPIES)?;
            blocking(move |stop| data_copy(&places, to, stop)).await
        }
        other => Err(Failure::new(ErrorKind::Invalid, format!("no action {other}"))),
    }
}

/// Asks whether an earlier `data_out` or `data_in` took effect: the data itself must be seen at one
/// of its two places. At neither it may stand on a volume that is not mounted.
pub(crate) fn probe(cluster: &Cluster, call: &Call, before: &Value) -> Result<Probed, Failure> {
    let places = Places::new(cluster, member(cluster, call)?, call.run);
    let out = call.action == "etcd.data_out";
    let place = place(call, if out { "to" } else { "from" }, &BESIDE)?;
    let was_present =
        before.get("data").and_then(Value::as_str) == Some(DataState::Present.label());
    let parts = places.parts(place);
    let mut stands = parts.iter().map(Part::stands).collect::<Result<Vec<Stands>, Failure>>()?;
    let both = parts.iter().zip(&stands).find(|(_, stands)| **stands == Stands::Both);
    let both = both.map(|(part, _)| part);
    if out && !was_present {
        stands.retain(|stands| *stands != Stands::Nowhere); // there was nothing to move
    }
    let (wanted, other) =
        if out { (Stands::Kept, Stands::Home) } else { (Stands::Home, Stands::Kept) };
    if stands.iter().all(|stands| *stands == wanted) {
        let output = if out { moved(&places, place, &parts) } else { put_back(&places) };
        return Ok(Probed::Done(Done { output, changed: was_present == out }));
    }
    let shown = |part: &Part| format!("{} and {}", part.home.display(), part.kept.display());
    if stands.iter().all(|stands| *stands == other) {
        let at = if out { &parts[0].home } else { &parts[0].kept };
        return Ok(Probed::not_done(format!("the data stands at {} still", at.display())));
    }
    Ok(Probed::Unknown(match both {
        Some(part) => format!("both {} are there", shown(part)),
        None if stands.iter().all(|stands| *stands == Stands::Nowhere) => format!(
            "the data is at neither of {}: it may stand on a volume that is not mounted",
            shown(&parts[0])
        ),
        None => "a part of the data is moved and another is not: look at both places".into(),
    }))
}

/// Where a part of the data is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Home,
    Kept,
    Both,
    Nowhere,
}

impl Part {
    fn stands(&self) -> Result<Stands, Failure> {
        Ok(match (exists(&self.home)?, exists(&self.kept)?) {
            (true, true) => Stands::Both,
            (true, false) => Stands::Home,
            (false, true) => Stands::Kept,
            (false, false) => Stands::Nowhere,
        })
    }
}

fn moved(places: &Places, place: &str, parts: &[Part]) -> Value {
    let moved = parts.iter().map(|part| Value::str(part.kept.to_string_lossy())).collect();
    Value::map([
        ("path", Value::str(places.beside(place).to_string_lossy())),
        ("moved", Value::list(moved)),
    ])
}

fn put_back(places: &Places) -> Value {
    Value::map([("path", Value::str(places.data_dir.join("member").to_string_lossy()))])
}

/// All are looked at before any is moved: a rename that cannot be done must not leave the data in
/// two places. One that was moved by an earlier try is left where it is.
fn data_out(places: &Places, to: &str) -> Result<Done, Failure> {
    let parts = places.parts(to);
    let mut moving = Vec::new();
    for part in &parts {
        match (exists(&part.home)?, exists(&part.kept)?) {
            (true, true) => return Err(taken(&part.kept)),
            (true, false) => moving.push(part),
            (false, _) => {}
        }
    }
    for (index, part) in moving.iter().enumerate() {
        if let Err(failure) = files::rename(&part.home, &part.kept) {
            // the data is never left in two places: what was moved goes home again
            for back in moving[..index].iter().rev() {
                files::rename(&back.kept, &back.home)?;
            }
            return Err(failure);
        }
    }
    Ok(Done { output: moved(places, to, &parts), changed: !moving.is_empty() })
}

/// Whether all of the data stands where the member looks for it, and none in the place.
fn is_home(places: &Places, from: &str) -> Result<bool, Failure> {
    for part in places.parts(from) {
        if !exists(&part.home)? || exists(&part.kept)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn data_in(places: &Places, from: &str) -> Result<Done, Failure> {
    let parts = places.parts(from);
    let mut moving = Vec::new();
    for part in &parts {
        match (exists(&part.home)?, exists(&part.kept)?) {
            (true, true) => return Err(taken(&part.home)),
            (false, true) => moving.push(part),
            (true, false) => {}
            (false, false) => {
                let message =
                    format!("neither {} nor {} is there", part.kept.display(), part.home.display());
                return Err(Failure::new(ErrorKind::NotFound, message));
            }
        }
    }
    for part in &moving {
        files::rename(&part.kept, &part.home)?;
    }
    Ok(Done { output: put_back(places), changed: !moving.is_empty() })
}

fn taken(path: &std::path::Path) -> Failure {
    let message = format!("{} is there already: look at it and move it away", path.display());
    Failure::new(ErrorKind::Conflict, message)
}

fn data_copy(
    places: &Places,
    to: &str,
    stop: &std::sync::atomic::AtomicBool,
) -> Result<Done, Failure> {
    if files::data(places)?.state != DataState::Present {
        let message = format!("{} holds no data to copy", places.data_dir.display());
        return Err(Failure::new(ErrorKind::NotFound, message));
    }
    let target = places.backups().join(to);
    let wal = places.wal_dir.clone().map(|dir| (dir, "wal"));
    let parts: Vec<_> = std::iter::once((places.data_dir.clone(), "data")).chain(wal).collect();
    let (copied, changed) = copy(&parts, &target, stop)?;
    let output = Value::map([
        ("path", Value::str(target.to_string_lossy())),
        ("files", Value::Int(copied.files)),
        ("bytes", Value::Int(copied.bytes)),
        ("sha256", Value::str(copied.sha256)),
    ]);
    Ok(Done { output, changed })
}

/// The copy goes where the backups are, the restored directory beside the data: the scarcer of the
/// two counts.
fn free_space(places: &Places, backups: &std::path::Path, factor: f64) -> Result<Done, Failure> {
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

#[cfg(test)]
mod tests;
