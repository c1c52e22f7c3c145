//! `etcd.data_*`: a member's data is renamed or copied, never deleted.

mod repeats;
mod restored;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::atomic::AtomicBool};

use crate::{
    domain::{
        etcd::evidence::DataState,
        rules::{
            action::{
                ActionSpec, ArgSpec, ArgType, Changes, Done, ErrorKind, Failure, OnResume, Probed,
            },
            expr::{Type, Value},
        },
    },
    targets::{
        action::{Action, Doing, On, arg, member},
        host::{
            copy::copy,
            files::{self, blocking, exists},
            places::{Part, Places, place},
            run::BULK,
            service::must_be_gone,
        },
    },
};

use self::restored::{must_be_unused_since, note_log, unlooked};

/// The places that data is renamed to and from.
const BESIDE: [&str; 3] = ["old", "new", "failed"];
/// Where what a restore made is kept.
const RESTORED: &str = "new";
/// Under which name the reading has the place itself.
const KEPT: &str = "kept";
/// The places that data is copied to.
const COPIES: [&str; 2] = ["scratch", "backup"];

fn place_argument(name: &'static str, help: &'static str) -> ArgSpec {
    arg(name, ArgType::Place, help)
}

/// `etcd.data_copy`.
#[derive(Debug)]
pub(super) struct DataCopy(ActionSpec);

impl DataCopy {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![member(), place_argument("to", "scratch or backup.")],
            output: Type::record([
                ("path", Type::Str),
                ("files", Type::Int),
                ("bytes", Type::Int),
                ("sha256", Type::Str),
            ]),
            timeout: BULK,
            ..ActionSpec::new(
                "etcd.data_copy",
                Changes::OwnFiles,
                OnResume::Rerun,
                "Copies the whole data directory of a stopped member and verifies the copy.",
            )
        })
    }
}

impl Action for DataCopy {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn before<'a>(&'a self, on: On<'a>) -> Doing<'a, Value> {
        Box::pin(data_before(on, |_| Ok(None)))
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(async move {
            let (places, to) = (on.places()?, place(on.call, "to", &COPIES)?);
            must_be_gone(on.member()?).await?;
            blocking(move |stop| data_copy(&places, to, stop)).await
        })
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let Ok(places) = on.places() else { return Vec::new() };
        let to = places.copied_data(on.call.text("to").unwrap_or("<place>"));
        vec![format!("cp -a {} {}", places.data_dir.display(), to.display())]
    }
}

/// `etcd.data_out`.
#[derive(Debug)]
pub(super) struct DataOut(ActionSpec);

impl DataOut {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![member(), place_argument("to", "old, new or failed.")],
            output: Type::record([("path", Type::Str), ("moved", Type::list(Type::Str))]),
            undo: Some("etcd.data_in"),
            holds: true,
            fences: true,
            ..ActionSpec::new(
                "etcd.data_out",
                Changes::Data,
                OnResume::Probe,
                "Renames the data of a stopped member to a place of this run; nothing is deleted.",
            )
        })
    }
}

impl Action for DataOut {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn before<'a>(&'a self, on: On<'a>) -> Doing<'a, Value> {
        Box::pin(async move {
            let to = place(on.call, "to", &BESIDE)?;
            data_before(on, move |places| repeats::free(places, to).map(Some)).await
        })
    }

    fn act<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Done> {
        Box::pin(async move {
            let (places, to) = (on.places()?, kept_in(before, place(on.call, "to", &BESIDE)?));
            let gone = must_be_gone(on.member()?).await;
            if to == RESTORED {
                gone.map_err(unlooked)?;
                return blocking(move |stop| {
                    must_be_unused_since(&places, stop).map_err(unlooked)?;
                    data_out(&places, &to)
                })
                .await;
            }
            gone?;
            blocking(move |_| data_out(&places, &to)).await
        })
    }

    fn probe<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Probed> {
        Box::pin(async move {
            let (places, before) = (on.places()?, before.clone());
            let to = kept_in(&before, place(on.call, "to", &BESIDE)?);
            blocking(move |_| moved_before(&places, &to, &before, true)).await
        })
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        moves(on, "to", |part| (part.home, part.kept))
    }
}

/// `etcd.data_in`.
#[derive(Debug)]
pub(super) struct DataIn(ActionSpec);

impl DataIn {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![member(), place_argument("from", "old, new or failed.")],
            output: Type::record([("path", Type::Str)]),
            undo: Some("etcd.data_out"),
            holds: true,
            ..ActionSpec::new(
                "etcd.data_in",
                Changes::Data,
                OnResume::Probe,
                "Renames data of a place of this run back to where the member looks for it.",
            )
        })
    }
}

impl Action for DataIn {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn before<'a>(&'a self, on: On<'a>) -> Doing<'a, Value> {
        Box::pin(async move {
            let from = place(on.call, "from", &BESIDE)?;
            data_before(on, move |places| repeats::last(places, from).map(Some)).await
        })
    }

    fn act<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Done> {
        Box::pin(async move {
            let (places, from) = (on.places()?, kept_in(before, place(on.call, "from", &BESIDE)?));
            let (at, of) = (places.clone(), from.clone());
            if blocking(move |_| is_home(&at, &of)).await? {
                // Nothing is moved: a member that runs again on its own data is no obstacle.
                return Ok(Done { output: put_back(&places), changed: false });
            }
            must_be_gone(on.member()?).await?;
            blocking(move |stop| {
                if from == RESTORED {
                    note_log(&places, stop)?;
                }
                data_in(&places, &from)
            })
            .await
        })
    }

    fn probe<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Probed> {
        Box::pin(async move {
            let (places, before) = (on.places()?, before.clone());
            let from = kept_in(&before, place(on.call, "from", &BESIDE)?);
            blocking(move |_| moved_before(&places, &from, &before, false)).await
        })
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        moves(on, "from", |part| (part.kept, part.home))
    }
}

fn moves(on: On<'_>, argument: &str, way: fn(Part) -> (PathBuf, PathBuf)) -> Vec<String> {
    let Ok(places) = on.places() else { return Vec::new() };
    let place = on.call.text(argument).unwrap_or("<place>");
    let moves = places.parts(place).into_iter().map(way);
    moves.map(|(from, to)| format!("mv {} {}", from.display(), to.display())).collect()
}

/// What stands there, and in which place it will be kept or is kept.
async fn data_before(
    on: On<'_>,
    kept: impl FnOnce(&Places) -> Result<Option<String>, Failure> + Send + 'static,
) -> Result<Value, Failure> {
    let places = on.places()?;
    blocking(move |_| {
        let data = files::data(&places)?;
        let mark = data.mark.map(|mark| ("mark", Value::str(mark)));
        let kept = kept(&places)?.map(|kept| (KEPT, Value::str(kept)));
        let state = [("data", Value::str(data.state.label()))];
        Ok(Value::map(state.into_iter().chain(mark).chain(kept)))
    })
    .await
}

/// The place that was found before the first try: a later one must not find another.
fn kept_in(before: &Value, place: &str) -> String {
    before.get(KEPT).and_then(Value::as_str).unwrap_or(place).to_owned()
}

/// Asks whether an earlier `data_out` or `data_in` took effect: the data itself must be seen at one
/// of its two places. At neither it may stand on a volume that is not mounted.
fn moved_before(
    places: &Places,
    place: &str,
    before: &Value,
    out: bool,
) -> Result<Probed, Failure> {
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
        let output = if out { moved(places, place, &parts) } else { put_back(places) };
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

fn data_copy(places: &Places, to: &str, stop: &AtomicBool) -> Result<Done, Failure> {
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
