//! `host.service.*_args`: arguments that a member's next starts get, until they are reset.

use std::{collections::BTreeMap, path::Path};

use crate::{
    domain::rules::{
        action::{ActionSpec, ArgType, Call, Changes, Done, ErrorKind, Failure, OnResume},
        expr::{Type, Value},
    },
    targets::{
        action::{Action, Doing, On, arg, done, member},
        host::{
            files::{self, blocking},
            places::Places,
        },
    },
};

/// `host.service.set_args`.
#[derive(Debug)]
pub(super) struct SetArgs(ActionSpec);

impl SetArgs {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![
                member(),
                arg(
                    "args",
                    ArgType::Map(Box::new(ArgType::Text)),
                    "Arguments without dashes, with their values.",
                ),
            ],
            output: Type::record([("residue", Type::list(Type::Str))]),
            undo: Some("host.service.reset_args"),
            ..ActionSpec::new(
                "host.service.set_args",
                Changes::Service,
                OnResume::Rerun,
                "Puts arguments in force for the member's next starts, until they are reset.",
            )
        })
    }
}

impl Action for SetArgs {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn before<'a>(&'a self, on: On<'a>) -> Doing<'a, Value> {
        Box::pin(args_before(on))
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(async move {
            let (call, places) = (on.call.clone(), on.places()?);
            blocking(move |_| set_args(&call, &places)).await
        })
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let Ok(places) = on.places() else { return Vec::new() };
        let args = on.call.args.get("args").and_then(Value::as_map).into_iter().flatten();
        let words =
            args.map(|(name, value)| format!("--{name}={}", value.to_text().unwrap_or_default()));
        let words = words.collect::<Vec<_>>().join(" ");
        vec![format!("write {}: {words}", places.args_file().display())]
    }
}

/// `host.service.reset_args`.
#[derive(Debug)]
pub(super) struct ResetArgs(ActionSpec);

impl ResetArgs {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![member()],
            ..ActionSpec::new(
                "host.service.reset_args",
                Changes::Service,
                OnResume::Rerun,
                "Puts the member's own arguments back in force.",
            )
        })
    }
}

impl Action for ResetArgs {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn before<'a>(&'a self, on: On<'a>) -> Doing<'a, Value> {
        Box::pin(args_before(on))
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(async move {
            let file = on.places()?.args_file();
            Ok(done(blocking(move |_| files::remove_own(&file)).await?))
        })
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let Ok(places) = on.places() else { return Vec::new() };
        vec![format!("rm {}", places.args_file().display())]
    }
}

async fn args_before(on: On<'_>) -> Result<Value, Failure> {
    let args = args_of(&on.places()?).await?;
    let values = |args: BTreeMap<String, String>| {
        Value::map(args.into_iter().map(|(name, value)| (name, Value::str(value))))
    };
    Ok(Value::map(args.map(|args| ("args", values(args)))))
}

/// The arguments in force, by name without dashes; `None` where the member's own are.
pub(super) async fn args_of(places: &Places) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let file = places.args_file();
    blocking(move |_| in_force(&file)).await
}

fn in_force(path: &Path) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(files::failure("reading", path, &error)),
    };
    let args = text.lines().map(|line| {
        let pair = line.strip_prefix("--").and_then(|line| line.split_once('='));
        pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| {
            let message =
                format!("{} holds a line that is no --name=value: reset it", path.display());
            Failure::new(ErrorKind::Invalid, message)
        })
    });
    args.collect::<Result<_, _>>().map(Some)
}

fn set_args(call: &Call, places: &Places) -> Result<Done, Failure> {
    let given = call.args.get("args").and_then(Value::as_map);
    let given = given.ok_or_else(|| Failure::new(ErrorKind::Invalid, "args is no map"))?;
    let mut wanted = BTreeMap::new();
    for (name, value) in given {
        let value = value.to_text().unwrap_or_default();
        check_argument(name, &value)?;
        wanted.insert(name.to_string(), value);
    }
    let path = places.args_file();
    let changed = in_force(&path)?.as_ref() != Some(&wanted);
    if changed {
        let lines: Vec<String> =
            wanted.iter().map(|(name, value)| format!("--{name}={value}")).collect();
        files::write_atomic(&path, &(lines.join("\n") + "\n"))?;
    }
    let residue = Value::list(vec![Value::str(path.to_string_lossy())]);
    Ok(Done { output: Value::map([("residue", residue)]), changed })
}

fn check_argument(name: &str, value: &str) -> Result<(), Failure> {
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit());
    if !plain || value.contains(['\n', '\r', '\0']) {
        return Err(Failure::new(
            ErrorKind::Invalid,
            format!(
                "{name:?} is no argument for a member's start, or its value has more than one line"
            ),
        ));
    }
    if name == "force-new-cluster" {
        // Left in force it expels every member that was added since, at the next restart.
        return Err(Failure::new(
            ErrorKind::Invalid,
            "force-new-cluster is never put in force for a member",
        ));
    }
    Ok(())
}
