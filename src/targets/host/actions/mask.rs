//! `host.service.mask` and `unmask`: whether anybody may start the member.

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
        host::{child::Bond, run::run, service::COMMAND},
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

    async fn run(&self, on: On<'_>) -> Result<Done, Failure> {
        let command = (self.1)(&on.member()?.service);
        if let Some(argv) = command {
            run(argv, Bond::Command, COMMAND).await?.succeeded(argv)?;
        }
        Ok(done(command.is_some()))
    }
}

impl Action for Mask {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(self.run(on))
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let command = on.member().ok().and_then(|member| (self.1)(&member.service));
        command.into_iter().map(|argv| argv.join(" ")).collect()
    }
}
