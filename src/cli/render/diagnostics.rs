//! Diagnostics for people (code frames), for editors and logs (one line each), for programs (JSON).

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::domain::rules::diagnostic::{Diagnostic, Severity};

/// How diagnostics are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Code frames with help.
    #[default]
    Full,
    /// `file:line:column: error[Q101]: message`.
    Concise,
    /// One JSON array.
    Json,
}

/// Prints all diagnostics. `text_of` gives the text of a file by its name; `colour` is for
/// terminals.
pub fn diagnostics<'t>(
    found: &[Diagnostic],
    text_of: impl Fn(&str) -> &'t str,
    format: Format,
    colour: bool,
) -> String {
    match format {
        Format::Full => {
            let frames = found.iter().map(|one| frame(one, text_of(&one.file), colour));
            frames.map(|frame| frame + "\n\n").collect()
        }
        Format::Concise => found.iter().map(|one| one.to_string() + "\n").collect(),
        Format::Json => {
            let json = serde_json::to_string_pretty(found);
            json.expect("strings and numbers always have a JSON form") + "\n"
        }
    }
}

/// The last line for people: `2 errors, 1 warning`; empty where there is nothing.
pub fn summary(found: &[Diagnostic]) -> String {
    let count = |severity| found.iter().filter(|one| one.severity == severity).count();
    let part = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{count} {word}s")),
    };
    let parts = [part(count(Severity::Error), "error"), part(count(Severity::Warning), "warning")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn frame(found: &Diagnostic, text: &str, colour: bool) -> String {
    let level = match found.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let end = found.span.end.min(text.len());
    let span = found.span.start.min(end)..end;
    let title = level.primary_title(found.message.as_str()).id(found.id);
    let mut group = Group::with_title(title);
    let has_place = text.is_char_boundary(span.start) && text.is_char_boundary(span.end);
    if has_place && !text.is_empty() {
        let mark = AnnotationKind::Primary.span(span);
        group = group.element(Snippet::source(text).path(found.file.as_str()).annotation(mark));
    } else {
        group = group.element(Origin::path(found.file.as_str()));
    }
    if let Some(help) = &found.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "spec:\n  steps:\n    - {name: ä, etcd.lok: {}}\n";

    fn found() -> Vec<Diagnostic> {
        let start = TEXT.find("etcd").unwrap();
        let one = Diagnostic {
            id: "Q203",
            severity: Severity::Error,
            message: "there is no action `etcd.lok`".into(),
            file: "a.yaml".into(),
            span: start..start + 8,
            line: 3,
            column: 17,
            help: Some("did you mean `etcd.look`?".into()),
        };
        let two = Diagnostic {
            id: "Q008",
            severity: Severity::Warning,
            message: "cannot be read".into(),
            file: "no.yaml".into(),
            span: 0..0,
            line: 1,
            column: 1,
            help: None,
        };
        vec![one, two]
    }

    fn rendered(format: Format) -> String {
        diagnostics(&found(), |file| if file == "a.yaml" { TEXT } else { "" }, format, false)
    }

    #[test]
    fn full_shows_the_code_and_the_help() {
        insta::assert_snapshot!(rendered(Format::Full));
    }

    #[test]
    fn concise_is_one_line_each() {
        insta::assert_snapshot!(rendered(Format::Concise));
    }

    #[test]
    fn json_holds_every_field() {
        insta::assert_snapshot!(rendered(Format::Json));
    }

    #[test]
    fn the_summary_counts_by_severity() {
        assert_eq!(summary(&found()), "1 error, 1 warning");
        assert_eq!(summary(&[]), "");
    }
}
