use clap::ValueEnum;
use engine_client::messages::Kind;

/// A kind of thing, in the plural.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ManyKind {
    /// Runs of programs
    #[value(alias = "job")]
    Jobs,
    /// Tasks and actor calls
    #[value(alias = "task")]
    Tasks,
    /// Actors
    #[value(alias = "actor")]
    Actors,
    /// Objects
    #[value(alias = "object")]
    Objects,
    /// Nodes
    #[value(alias = "node")]
    Nodes,
    /// Placement groups
    #[value(alias = "placement-group")]
    PlacementGroups,
    /// What has happened: nodes that joined and died, jobs that began and ended
    #[value(alias = "event")]
    Events,
}

/// A kind of thing, in the singular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OneKind {
    /// A run of a program
    #[value(alias = "jobs")]
    Job,
    /// A task or actor call
    #[value(alias = "tasks")]
    Task,
    /// An actor
    #[value(alias = "actors")]
    Actor,
    /// An object
    #[value(alias = "objects")]
    Object,
    /// A node
    #[value(alias = "nodes")]
    Node,
    /// A placement group
    #[value(alias = "placement-groups")]
    PlacementGroup,
    /// Something that has happened
    #[value(alias = "events")]
    Event,
}

impl From<ManyKind> for Kind {
    fn from(kind: ManyKind) -> Self {
        match kind {
            ManyKind::Jobs => Kind::Job,
            ManyKind::Tasks => Kind::Task,
            ManyKind::Actors => Kind::Actor,
            ManyKind::Objects => Kind::Object,
            ManyKind::Nodes => Kind::Node,
            ManyKind::PlacementGroups => Kind::PlacementGroup,
            ManyKind::Events => Kind::Event,
        }
    }
}

impl From<OneKind> for Kind {
    fn from(kind: OneKind) -> Self {
        match kind {
            OneKind::Job => Kind::Job,
            OneKind::Task => Kind::Task,
            OneKind::Actor => Kind::Actor,
            OneKind::Object => Kind::Object,
            OneKind::Node => Kind::Node,
            OneKind::PlacementGroup => Kind::PlacementGroup,
            OneKind::Event => Kind::Event,
        }
    }
}
