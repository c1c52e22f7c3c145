//! Random playbooks: every kind of step, in loops and calls, before and after a point of no return.

use super::{Run, begin_with};

/// A small generator; the same seed gives the same life.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % u64::try_from(n.max(1)).unwrap()).unwrap()
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A run of a random playbook.
pub(super) fn some_run(dice: &mut Dice) -> Run {
    let mut author = Author { dice, names: 0, calls: false, lines: Vec::new() };
    author.list(4, 1, 3);
    let part = std::mem::take(&mut author.lines).concat();
    author.calls = true;
    author.list(4, 0, 5);
    if author.dice.one_in(2) {
        author.lines.push("    - {name: gone, irreversible: true, do.it: {}}\n".into());
        author.list(4, 0, 4);
    }
    begin_with(&author.lines.concat(), &part)
}

struct Author<'d> {
    dice: &'d mut Dice,
    names: usize,
    calls: bool,
    lines: Vec<String>,
}

impl Author<'_> {
    fn list(&mut self, indent: usize, loops: usize, most: usize) {
        for _ in 0..=self.dice.below(most) {
            self.step(indent, loops);
        }
    }

    fn line(&mut self, indent: usize, line: &str) {
        self.lines.push(format!("{}{line}\n", " ".repeat(indent)));
    }

    fn step(&mut self, indent: usize, loops: usize) {
        self.names += 1;
        self.line(indent, &format!("- name: s{}", self.names));
        let within = indent + 2;
        match self.dice.below(12) {
            0 | 1 if loops < 2 => self.foreach(within, loops),
            2 if self.calls && loops < 2 => self.line(within, "call: {playbook: part0}"),
            3 => self.line(within, "expect: {that: 'true', message: no}"),
            4 => self.line(within, "record: {note: x}"),
            5 if loops == 0 => self.line(within, "approve: {show: [loss]}"),
            6 => self.line(within, "do.look: {}"),
            _ => self.write(within),
        }
        if self.dice.one_in(5) {
            self.line(within, "on_error: continue");
        }
        if self.dice.one_in(4) {
            self.line(within, "when: 'true'");
        }
    }

    fn foreach(&mut self, indent: usize, loops: usize) {
        let item = format!("as: item{}", self.names);
        self.line(indent, "foreach:");
        self.line(indent + 2, "in: 'params.members'");
        self.line(indent + 2, &item);
        let at_once = 1 + self.dice.below(3);
        if at_once > 1 {
            self.line(indent + 2, &format!("mode: {{parallel: {at_once}}}"));
        }
        if self.dice.one_in(3) {
            self.line(indent + 2, "until: 'true'");
        }
        self.line(indent + 2, "do:");
        self.list(indent + 4, loops + 1, 3);
    }

    fn write(&mut self, indent: usize) {
        self.line(indent, "do.it: {}");
        for (list, chance) in [("undo", 2), ("finally", 3)] {
            if self.dice.one_in(chance) {
                let entry = ["{do.back: {}}", "{do.tidy: {}, retry: {attempts: 2, delay: 1s}}"];
                let count = self.dice.below(2);
                let entries: Vec<_> = (0..=count).map(|_| entry[self.dice.below(2)]).collect();
                self.line(indent, &format!("{list}: [{}]", entries.join(", ")));
            }
        }
        if self.dice.one_in(3) {
            self.line(indent, "retry: {attempts: 3, delay: 1s}");
        }
    }
}
