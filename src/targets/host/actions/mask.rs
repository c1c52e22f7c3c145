//! `host.service.mask` and `unmask`: whether anybody may start the member.
//!
//! A mask that a person had put before is none of ours: it stays when ours is taken back. Whether one
//! was there only a command of the inventory can tell.

use crate::{
    domain::{
        inventory::Service,
        rules::{
            action::{ActionSpec, Changes, Done, Failure, OnResume},
            expr::Value,
        },
    },
    targets::{
        action::{Action, Doing, On, done, member},
        host::{
            child::Bond,
            run::run,
            service::{COMMAND, STATUS},
        },
    },
};

/// Which of a service's commands it is.
type Command = fn(&Service) -> Option<&Vec<String>>;

/// `host.service.mask`, or `unmask`.
#[derive(Debug)]
pub(super) struct Mask(ActionSpec, Command);

impl Mask {
    pub(super) fn put() -> Self {
        let spec = ActionSpec {
            args: vec![member()],
            undo: Some("host.service.unmask"),
            holds: true,
            fences: true,
            ..ActionSpec::new(
                "host.service.mask",
                Changes::Service,
                OnResume::Rerun,
                "Keeps the member from being started by anybody; without a mask command it changes nothing.",
            )
        };
        Self(spec, |service| service.mask.as_ref())
    }

    pub(super) fn take_back() -> Self {
        let spec = ActionSpec {
            args: vec![member()],
            undo: Some("host.service.mask"),
            ..ActionSpec::new(
                "host.service.unmask",
                Changes::Service,
                OnResume::Rerun,
                "Takes a mask back.",
            )
        };
        Self(spec, |service| service.unmask.as_ref())
    }

    async fn run(&self, on: On<'_>, before: &Value) -> Result<Done, Failure> {
        let command = (self.1)(&on.member()?.service);
        let is_there = before.get(MASKED).and_then(Value::as_bool) == Some(self.masks());
        let Some(argv) = command.filter(|_| !is_there) else { return Ok(done(false)) };
        run(argv, Bond::Command, COMMAND).await?.succeeded(argv)?;
        Ok(done(true))
    }

    fn masks(&self) -> bool {
        self.0.holds
    }
}

/// Under which name the reading has whether it is masked.
const MASKED: &str = "masked";

/// Whether somebody has masked it; nothing where there is no command that tells.
async fn masked(service: &Service) -> Result<Option<bool>, Failure> {
    let Some(argv) = &service.is_masked else { return Ok(None) };
    let ran = run(argv, Bond::Read, STATUS).await?;
    match ran.code {
        Some(0) => Ok(Some(true)),
        Some(1) => Ok(Some(false)),
        _ => ran.succeeded(argv).map(|_| None),
    }
}

impl Action for Mask {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn before<'a>(&'a self, on: On<'a>) -> Doing<'a, Value> {
        Box::pin(async move {
            let masked = masked(&on.member()?.service).await?;
            Ok(Value::map(masked.map(|masked| (MASKED, Value::Bool(masked)))))
        })
    }

    fn act<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Done> {
        Box::pin(self.run(on, before))
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let command = on.member().ok().and_then(|member| (self.1)(&member.service));
        command.into_iter().map(|argv| argv.join(" ")).collect()
    }
}
