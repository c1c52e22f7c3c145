//! Every diagnostic there is, in one table: a stable id, its severity, what it is about.
//!
//! An id is never used for something else later. Each has a test that triggers it.

use super::diagnostic::Severity::{self, Error, Warning};

/// One kind of problem.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// As `Q101`.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, for the reference page.
    pub about: &'static str,
}

macro_rules! codes {
    ($($name:ident $id:literal $severity:ident $about:literal;)*) => {
        $(#[doc = $about] pub static $name: Code = Code { id: $id, severity: $severity, about: $about };)*

        /// All of them, by id.
        pub static ALL: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    // The text.
    NOT_YAML "Q001" Error "The text is no YAML.";
    DUPLICATE_KEY "Q002" Error "A key is given twice.";
    ALIAS "Q003" Error "A YAML alias or merge key.";
    TAG "Q004" Error "A YAML tag; mostly a condition that begins with `!` without quotes.";
    FLOW_TEMPLATE "Q005" Error "`${…}` without quotes inside `{…}`.";
    TOO_LARGE "Q006" Error "The file is too large or nested too deeply.";
    BAD_KEY "Q007" Error "A key that is no plain name.";
    UNREADABLE "Q008" Error "The file cannot be read.";
    // The shape.
    UNKNOWN_KEY "Q101" Error "A key that is not known here.";
    MISSING_KEY "Q102" Error "A required key is missing.";
    WRONG_TYPE "Q103" Error "A value of the wrong type.";
    NOT_A_WORD "Q104" Error "A word that is not in the closed list.";
    BAD_NAME "Q105" Error "A name that does not fit its pattern.";
    BAD_UNIT "Q106" Error "A duration, size or share that cannot be read.";
    OUT_OF_RANGE "Q107" Error "A number or list outside its bounds.";
    NOT_SUPPORTED "Q108" Error "A key of the contract that this version does not support yet.";
    UNKNOWN_KIND "Q109" Error "A document of an unknown kind or version.";
    BAD_MATCHER "Q110" Error "An alert matcher that cannot be read.";
    BAD_EXPRESSION "Q111" Error "An expression or template that cannot be read or does not fit its types.";
    // One playbook.
    DUPLICATE_STEP "Q201" Error "A step name is used twice.";
    ONE_ACTION "Q202" Error "A step needs exactly one action or control key.";
    UNKNOWN_ACTION "Q203" Error "An action that is not in the catalogue.";
    BAD_ARGUMENT "Q204" Error "An unknown, missing or ill-typed argument of an action.";
    SECOND_IRREVERSIBLE "Q205" Error "More than one point of no return on one path.";
    IRREVERSIBLE_CONTINUE "Q206" Error "An irreversible step cannot go on after an error.";
    FINAL_FORWARD "Q207" Error "An action that cannot be taken back stands in a step that is not irreversible.";
    DESTROYS_MISSING "Q208" Error "A playbook with an irreversible step must say what it destroys.";
    FENCE_BEFORE_APPROVE "Q209" Error "A member that serves is stopped or moved before the run asked.";
    NOT_HERE "Q210" Error "A key that does not go with this kind of step.";
    NAME_TAKEN "Q211" Error "A name that hides another one.";
    BAD_DEFAULT "Q212" Error "A parameter's default or bounds contradict its declaration.";
    LOSS_NOT_RECORDED "Q213" Warning "A playbook destroys data but does not choose a survivor or record the loss.";
    NO_MEMBER_PARAM "Q214" Warning "A playbook destroys a member but no parameter names one.";
    CALL_CIRCLE "Q215" Error "Playbooks that call each other in a circle.";
    DESTROYS_LESS "Q216" Error "A playbook destroys less than one that it calls.";
    FENCE_WITHOUT_UNDO "Q217" Error "A member is stopped or moved before the point of no return, and nothing takes it back.";
    NO_IRREVERSIBLE "Q218" Error "A playbook destroys data without a point of no return.";
    VERIFY_MISSING "Q219" Error "A playbook destroys something and does not verify its end.";
    SHOWS_TOO_LITTLE "Q220" Error "The loss of data is approved without seeing evidence, loss and commands.";
    NOT_IN_PARALLEL "Q221" Error "A question inside a parallel loop.";
    // Across files.
    UNKNOWN_PLAYBOOK "Q301" Error "A ladder or a call names a playbook that is not loaded.";
    UNKNOWN_RESPONSE "Q302" Warning "`inhibits` names a response that is not loaded.";
    DUPLICATE_NAME "Q303" Error "Two documents of one kind have the same name.";
    BAD_WITH "Q304" Error "`with` does not fit the playbook's parameters.";
    QUARANTINE_ALONE "Q305" Warning "A quarantine without `inhibits` holds nobody.";
    // The configuration.
    UNKNOWN_HOST "Q401" Error "A member's host is not among the cluster's hosts.";
    NOT_UNIQUE "Q402" Error "A name or URL is used twice.";
    BAD_URL "Q403" Error "A URL or address that cannot be used.";
    FILE_MISSING "Q404" Error "A file that is named is not there.";
    OPEN_WEBHOOK "Q405" Error "The webhook would listen beyond loopback without authentication.";
    OWN_STORE "Q406" Error "quorate's own store stands in a patient's data directory.";
    NO_CONTROL_TARGET "Q407" Warning "Nothing tells a cut-off responder from a dead cluster.";
    BAD_PATH "Q408" Error "A path that cannot be used.";
    NO_MASK "Q409" Warning "Nothing keeps an init system from starting a member that a repair fenced.";
    NO_TOKENS "Q410" Warning "Beyond loopback and without tokens nobody can use the API.";
    NO_EFFECT_YET "Q411" Warning "A setting that is read and has no effect yet.";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn ids_are_unique_and_sorted() {
        assert!(ALL.windows(2).all(|pair| pair[0].id < pair[1].id));
    }

    #[test]
    fn each_has_a_case() {
        let cases = [
            include_str!("yaml/tests.rs"),
            include_str!("tests.rs"),
            include_str!("tests/calls.rs"),
            include_str!("tests/playbooks.rs"),
            include_str!("tests/responses.rs"),
            include_str!("../../config/load/tests.rs"),
            include_str!("../../config/check/tests.rs"),
        ];
        let shown = |id: &str| cases.iter().any(|text| text.contains(&format!("\"{id}\"")));
        let missing: Vec<&str> = ALL.iter().map(|code| code.id).filter(|id| !shown(id)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
