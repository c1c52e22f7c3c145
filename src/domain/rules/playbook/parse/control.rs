//! The control keys: what a step can be besides an action.

use std::time::Duration;

use super::{Around, Parser, SPAN, condition, expression, scope::Scope, steps::Gives};
use crate::domain::rules::{
    codes,
    expr::{Template, Type},
    playbook::model::{Show, StepKind},
    yaml::{
        Kind, Node,
        read::{Bounds, Fields, Sink, count, duration, list, text, word},
    },
};

/// Loops inside each other: two are enough for members of zones.
pub(super) const LOOPS_MAX: usize = 2;
/// Items worked on at once: more than members of the largest cluster helps nobody.
const AT_ONCE: Bounds<u32> = 1..=16;
/// How long a condition must hold: none by default.
const HOLD: Bounds<Duration> = Duration::ZERO..=Duration::from_hours(1);
/// Between two looks: a look asks every member, so never more often than ten times a second.
const POLL: Bounds<Duration> = Duration::from_millis(100)..=Duration::from_mins(5);
/// Between two looks where the step does not say.
const POLL_DEFAULT: Duration = Duration::from_secs(1);

impl Parser<'_, '_> {
    /// The loop, and what it gives.
    pub(super) fn foreach(
        &mut self,
        name: &str,
        node: &Node,
        scope: &Scope,
        around: Around,
    ) -> (Option<StepKind>, Option<Gives>) {
        let failed = Type::list(Type::Str);
        let Some(mut fields) = Fields::of(node, self.sink) else {
            return (None, Some(Gives::new(Type::Any, [("failed", failed)])));
        };
        let items = fields.need("in", self.sink);
        let item = fields.need("as", self.sink);
        let body = fields.need("do", self.sink);
        let until = fields.get("until");
        let at_once = fields.get("mode").map_or(1, |mode| self.mode(mode));
        let around = Around { loops: around.loops + 1, parallel: around.parallel || at_once > 1 };
        self.laws.loops = self.laws.loops.max(around.loops);
        if around.loops > LOOPS_MAX {
            let message = format!("more than {LOOPS_MAX} loops inside each other");
            self.sink.add(&codes::OUT_OF_RANGE, &fields.span, message);
        }
        fields.finish(self.sink);

        let items = items.and_then(|node| self.names(node, scope));
        let mut inner = scope.clone();
        let variable = item.and_then(|node| text(node, self.sink));
        if let (Some(variable), Some(node)) = (variable, item) {
            inner.name(variable, &node.span, Type::Str, self.sink);
        }
        let body = body.map(|node| self.list(node, &mut inner, around));
        // Item to step to output; only steps that give one.
        let output = Type::map(Type::record_of(inner.outputs_beyond(scope)));
        let until = until.map(|node| {
            let mut seen = scope.clone();
            let fields = [("output", output.clone()), ("failed", failed.clone())];
            seen.give(name, Type::record(fields));
            condition(node, &seen.schema(), self.sink)
        });
        let kind = (|| {
            Some(StepKind::Foreach {
                items: items?,
                item: variable?.to_owned(),
                at_once,
                until: match until {
                    Some(until) => Some(until?),
                    None => None,
                },
                steps: body?,
            })
        })();
        (kind, Some(Gives::new(output, [("failed", failed)])))
    }

    /// How many items are worked on at once.
    fn mode(&mut self, node: &Node) -> usize {
        if node.as_str() == Some("parallel") {
            let message = "how many items at once is missing";
            self.sink.add_help(&codes::WRONG_TYPE, &node.span, message, "write `{parallel: 3}`");
            return 1;
        }
        if !matches!(node.kind, Kind::Map(_)) {
            word(node, &["serial"], self.sink);
            return 1;
        }
        let Some(mut fields) = Fields::of(node, self.sink) else { return 1 };
        let items = fields.need("parallel", self.sink);
        fields.finish(self.sink);
        let items = items.and_then(|node| count(node, &AT_ONCE, self.sink));
        items.and_then(|items| usize::try_from(items).ok()).unwrap_or(1)
    }

    /// An expression that gives a list of names.
    fn names(&mut self, node: &Node, scope: &Scope) -> Option<crate::domain::rules::expr::Expr> {
        let expr = expression(node, &scope.schema(), self.sink)?;
        let fits = match expr.ty() {
            Type::Any => true,
            Type::List(item) => matches!(**item, Type::Any | Type::Str | Type::Word(_)),
            Type::Map(_)
            | Type::Null
            | Type::Bool
            | Type::Int
            | Type::Double
            | Type::Str
            | Type::Word(_)
            | Type::Duration
            | Type::Time
            | Type::Record(_) => false,
        };
        if !fits {
            let message = format!("a list of names was expected here, not {}", expr.ty());
            self.sink.add(&codes::BAD_EXPRESSION, &node.span, message);
        }
        Some(expr)
    }

    pub(super) fn wait(&mut self, node: &Node, scope: &Scope) -> Option<StepKind> {
        let mut fields = Fields::of(node, self.sink)?;
        let until = fields.need("until", self.sink);
        let hold = fields.get("for").and_then(|node| duration(node, &HOLD, self.sink));
        let timeout = fields.need("timeout", self.sink);
        let timeout =
            timeout.and_then(|node| duration(node, &SPAN, self.sink).map(|span| (span, node)));
        let poll = fields.get("poll").and_then(|node| duration(node, &POLL, self.sink));
        fields.finish(self.sink);
        let until = until.and_then(|node| condition(node, &scope.schema(), self.sink));
        let hold = hold.unwrap_or(Duration::ZERO);
        let poll = poll.unwrap_or(POLL_DEFAULT);
        let (timeout, place) = timeout?;
        if timeout < hold + poll {
            let message = "the wait ends before the condition can have held long enough";
            let help = "make `timeout` longer than `for` and `poll` together";
            self.sink.add_help(&codes::OUT_OF_RANGE, &place.span, message, help);
        }
        Some(StepKind::Wait { until: until?, hold, timeout, poll })
    }

    pub(super) fn expect(&mut self, node: &Node, scope: &Scope) -> Option<StepKind> {
        let mut fields = Fields::of(node, self.sink)?;
        let that = fields.need("that", self.sink);
        let message = fields.need("message", self.sink);
        fields.finish(self.sink);
        let that = that.and_then(|node| condition(node, &scope.schema(), self.sink));
        let message = message.and_then(|node| template(node, scope, self.sink));
        Some(StepKind::Expect { that: that?, message: message? })
    }

    pub(super) fn record(&mut self, node: &Node, scope: &Scope) -> Option<StepKind> {
        let mut fields = Fields::of(node, self.sink)?;
        let remark = fields.get("note");
        let loss = fields.get("loss");
        let span = fields.span.clone();
        fields.finish(self.sink);
        match (remark, loss) {
            (Some(remark), None) => template(remark, scope, self.sink).map(StepKind::RecordNote),
            (None, Some(loss)) => {
                let mut fields = Fields::of(loss, self.sink)?;
                let survivor = fields.need("survivor", self.sink);
                let rebuilt = fields.need("rebuilt", self.sink);
                fields.finish(self.sink);
                let survivor = survivor.and_then(|node| self.output_of(node, "revision", scope));
                let rebuilt = rebuilt.and_then(|node| self.output_of(node, "member_id", scope));
                self.laws.recorded_loss = true;
                Some(StepKind::RecordLoss { survivor: survivor?, rebuilt: rebuilt? })
            }
            (Some(_), Some(_)) | (None, None) => {
                let message = "one of `loss` and `note` was expected here";
                self.sink.add(&codes::ONE_ACTION, &span, message);
                None
            }
        }
    }

    /// A template that gives a whole output, told by one of its fields.
    fn output_of(&mut self, node: &Node, field: &str, scope: &Scope) -> Option<Template> {
        let read = template(node, scope, self.sink)?;
        if read.ty().field(field).is_none() {
            let message = format!("a step's output with `{field}` was expected here");
            let help = "the survivor is what etcd.choose_survivor gave, the rebuilt what etcd.restore gave";
            self.sink.add_help(&codes::BAD_EXPRESSION, &node.span, message, help);
        }
        Some(read)
    }

    pub(super) fn approve(&mut self, node: &Node, around: Around) -> Option<StepKind> {
        let words = ["evidence", "loss", "commands"];
        let all = [Show::Evidence, Show::Loss, Show::Commands];
        let mut fields = Fields::of(node, self.sink)?;
        let shown = fields.need("show", self.sink);
        fields.finish(self.sink);
        let mut show = Vec::new();
        for item in list(shown?, self.sink)? {
            let got = word(item, &words, self.sink);
            let found = words.iter().zip(all).find(|(word, _)| Some(**word) == got);
            show.extend(found.map(|(_, kind)| kind));
        }
        self.question(&node.span, around);
        self.laws.questions.push((node.span.clone(), show.clone()));
        Some(StepKind::Approve(show))
    }
}

fn template(node: &Node, scope: &Scope, sink: &mut Sink<'_>) -> Option<Template> {
    let source = text(node, sink)?;
    let compiled = Template::compile(source, &scope.schema());
    compiled.map_err(|problems| sink.expression(node, problems)).ok()
}
