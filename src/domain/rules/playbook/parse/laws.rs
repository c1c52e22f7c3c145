//! What holds over a whole playbook: noted while its steps are read, told at the end.

use std::{collections::BTreeMap, ops::Range};

use crate::domain::rules::{
    codes,
    playbook::{
        model::{Destroys, Show},
        params::{Param, ParamType},
    },
    yaml::read::Sink,
};

/// What is noted on the way.
#[derive(Debug, Default)]
pub(super) struct Laws {
    /// Where each step name was first used.
    pub(super) names: BTreeMap<String, Range<usize>>,
    /// Irreversible steps.
    pub(super) irreversible: Vec<Range<usize>>,
    /// Whether the run has asked for sure by now.
    pub(super) approved: bool,
    /// Questions, with what they show.
    pub(super) questions: Vec<(Range<usize>, Vec<Show>)>,
    pub(super) chose_survivor: bool,
    pub(super) recorded_loss: bool,
    /// Loops inside each other, those of called playbooks too.
    pub(super) loops: usize,
    /// Calls inside each other.
    pub(super) calls: usize,
    /// Steps in all, those of called playbooks too.
    pub(super) steps: usize,
}

impl Laws {
    /// Tells what the playbook as a whole lacks.
    pub(super) fn check(
        &self,
        destroys: Option<&(Destroys, Range<usize>)>,
        params: &[Param],
        has_verify: bool,
        sink: &mut Sink<'_>,
    ) {
        for second in self.irreversible.iter().skip(1) {
            let help = "split the playbook: a failure after the first is never undone";
            let message = "there is a point of no return before this one";
            sink.add_help(&codes::SECOND_IRREVERSIBLE, second, message, help);
        }
        let Some((kind, span)) = destroys else {
            if let Some(step) = self.irreversible.first() {
                let message = "a playbook with an irreversible step must say what it destroys";
                let help = "add `destroys: nothing`, `member` or `data` to the spec";
                sink.add_help(&codes::DESTROYS_MISSING, step, message, help);
            }
            return;
        };
        if *kind != Destroys::Nothing && !has_verify {
            let message = "a playbook that destroys something must have `verify`";
            let help = "say what must be true at the end; a run that only ran proves nothing";
            sink.add_help(&codes::VERIFY_MISSING, span, message, help);
        }
        match kind {
            Destroys::Nothing => {}
            Destroys::Member => member(params, span, sink),
            Destroys::Data => self.data(span, sink),
        }
    }

    fn data(&self, span: &Range<usize>, sink: &mut Sink<'_>) {
        if !(self.chose_survivor && self.recorded_loss) {
            let message = "data is destroyed without etcd.choose_survivor and record: {loss: …}";
            let help = "without them nobody can tell afterwards what was lost";
            sink.add_help(&codes::LOSS_NOT_RECORDED, span, message, help);
        }
        if self.irreversible.is_empty() {
            let message = "data is destroyed, but no step is the point of no return";
            let help = "mark the step after which nothing can be taken back `irreversible: true`";
            sink.add_help(&codes::NO_IRREVERSIBLE, span, message, help);
        }
        for (span, show) in &self.questions {
            if ![Show::Evidence, Show::Loss, Show::Commands].iter().all(|kind| show.contains(kind))
            {
                let message = "who approves the loss of data must see all that it rests on";
                let help = "write `show: [evidence, loss, commands]`";
                sink.add_help(&codes::SHOWS_TOO_LITTLE, span, message, help);
            }
        }
    }
}

fn member(params: &[Param], span: &Range<usize>, sink: &mut Sink<'_>) {
    if !params.iter().any(|param| param.ty == ParamType::Member) {
        let message = "no parameter of type `member` names the member that is destroyed";
        let help = "the guard asks permanence of every such parameter";
        sink.add_help(&codes::NO_MEMBER_PARAM, span, message, help);
    }
}
