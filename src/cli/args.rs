//! The verbs and their arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Answers Prometheus alerts about quorum and node readiness with repairs it can prove safe.
#[derive(Debug, Parser)]
#[command(name = "quorate", disable_version_flag = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Which server is asked, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server to ask.
    #[arg(
        long = "server",
        global = true,
        env = "QUORATE_SERVER",
        default_value = "http://127.0.0.1:9912",
        value_name = "URL"
    )]
    pub(crate) url: String,
    /// A file that holds your API token. An order to a server on this machine that has no tokens
    /// configured finds the server's own, where you may read it.
    #[arg(long, global = true, env = "QUORATE_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The CA that signed the server's certificate (PEM), instead of the system's.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the responder.
    Serve(Serve),
    /// Check responses, playbooks and configurations: all problems at once.
    Check(Check),
    /// Show the clusters and their verdicts, or one with every member's readings.
    Clusters(One),
    /// Show the alerts that are known.
    Alerts(Alerts),
    /// Show the incidents, or one with its timeline.
    Incidents(One),
    /// Show the runs, or one with its steps and what it asks.
    Runs(One),
    /// Show what may have been lost.
    Losses(One),
    /// Tell the whole story of an incident, run, loss or alert, and what to do next.
    Why {
        /// An id (inc_…, run_…, loss_…) or an alert's fingerprint.
        id: String,
        #[command(flatten)]
        shown: Shown,
    },
    /// Show what a playbook would do to a cluster now. Changes nothing.
    Plan(Plan),
    /// Say yes to what a run asks.
    Approve(Approve),
    /// Say no to what a run asks: what was done is taken back.
    Deny(OfRun),
    /// Let a parked run go on.
    Resume(OfRun),
    /// Give a parked run up: before its point of no return what it did is taken back, after it only
    /// its finalizers run.
    Abandon(OfRun),
    /// Acknowledge a possible data loss.
    Ack {
        /// The loss.
        loss: String,
        #[command(flatten)]
        because: Because,
    },
    /// Give your word that a member will not come back. It counts as evidence.
    Attest(Attest),
    /// Do nothing to a cluster for now.
    Pause(Pause),
    /// End a pause.
    Unpause {
        /// The cluster.
        cluster: String,
        #[command(flatten)]
        because: Because,
    },
    /// Look into a store's folder, also one that no start accepts. Changes nothing.
    #[command(subcommand)]
    Store(StoreVerb),
    /// Print the version.
    Version,
    /// Started by the server itself, in place of a tool or a service's command.
    #[command(hide = true)]
    Child(Child),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("bond").required(true))]
pub(crate) struct Child {
    /// Become the command, and end with this process.
    #[arg(long, group = "bond", value_name = "PID")]
    pub(crate) end_with: Option<u32>,
    /// Stay with the command until it ends, for so many seconds at most.
    #[arg(long = "for", group = "bond", value_name = "SECONDS")]
    pub(crate) stay: Option<u64>,
    /// The command.
    #[arg(last = true, required = true)]
    pub(crate) argv: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreVerb {
    /// Read everything and show what cannot be read, where, and the way out.
    Check(Folder),
    /// Print everything that can be read as JSON, one line each.
    Export(Folder),
}

#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// The store's folder.
    #[arg(default_value = "./data")]
    pub(crate) path: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The configuration. Without it: loopback, the rules in ./rules, the store in ./data.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What is logged, as `info` or `quorate=debug,info`.
    #[arg(long, env = "QUORATE_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    /// How a log line looks.
    #[arg(long, env = "QUORATE_LOG_FORMAT", value_enum, default_value = "text")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Files and folders; without any ./rules and ./quorate.yaml.
    pub(crate) paths: Vec<PathBuf>,
    /// How problems are printed.
    #[arg(long, value_enum, default_value = "full")]
    pub(crate) format: CheckFormat,
    /// Warnings fail too.
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// With the lines they are about.
    Full,
    /// One line each.
    Concise,
    /// A JSON array.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Shown {
    /// How the answer is printed.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// What the server said.
    Json,
    /// The same as YAML.
    Yaml,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// Only this one, with everything about it.
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) page: Paging,
    #[command(flatten)]
    pub(crate) shown: Shown,
}

#[derive(Debug, Args)]
pub(crate) struct Paging {
    /// At most so many (1 to 1000).
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: usize,
    /// Go on after this page's `next`.
    #[arg(long, value_name = "NEXT")]
    pub(crate) after: Option<String>,
    /// Only those of one cluster.
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// Only those in one state (verdict, phase).
    #[arg(long, value_name = "WORD")]
    pub(crate) state: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Alerts {
    #[command(flatten)]
    pub(crate) page: Paging,
    #[command(flatten)]
    pub(crate) shown: Shown,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The playbook.
    pub(crate) playbook: String,
    /// The cluster.
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: String,
    /// A parameter.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) params: Vec<String>,
    #[command(flatten)]
    pub(crate) shown: Shown,
}

#[derive(Debug, Args)]
pub(crate) struct Because {
    /// Why; kept in the journal.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct OfRun {
    /// The run.
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) because: Because,
}

#[derive(Debug, Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    pub(crate) of: OfRun,
    /// What you saw: refused if something changed since.
    #[arg(long, value_name = "SHA256")]
    pub(crate) digest: Option<String>,
    /// The most that may be lost, in revisions. Without it: the upper bound that was shown.
    #[arg(long, value_name = "REVISIONS")]
    pub(crate) max_loss: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Attest {
    /// The cluster.
    pub(crate) cluster: String,
    /// The member.
    pub(crate) member: String,
    /// It is gone for good: its data may be given up.
    #[arg(long, required = true)]
    pub(crate) gone: bool,
    #[command(flatten)]
    pub(crate) because: Because,
    /// How long your word counts.
    #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
    pub(crate) lasts: String,
}

#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// The cluster.
    pub(crate) cluster: String,
    #[command(flatten)]
    pub(crate) because: Because,
    /// How long; without it until unpaused.
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) lasts: Option<String>,
}
