//! The values of a channel that a condition can name.

use super::units::Unit;

/// Declares [`Field`]: variant, name, unit, whether the history of a channel has it, meaning.
macro_rules! fields {
    ($($field:ident, $name:literal, $unit:ident, $history:ident, $meaning:literal;)*) => {
        /// A value of a channel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field {
            $(#[doc = $meaning] $field),*
        }

        impl Field {
            /// All fields, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$field),*];

            /// The name in a condition.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name),*
                }
            }

            /// The meaning of the value.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$field => $meaning),*
                }
            }

            /// The unit of the value.
            #[must_use]
            pub fn unit(self) -> Unit {
                match self {
                    $(Self::$field => Unit::$unit),*
                }
            }

            /// Whether the history of a channel has the value, so that `avg` and the like can be asked of it.
            #[must_use]
            pub fn is_in_history(self) -> bool {
                match self {
                    $(Self::$field => fields!(@ $history)),*
                }
            }
        }
    };
    (@ history) => { true };
    (@ now) => { false };
}

fields! {
    Waiting, "waiting", Number, history, "jobs ready to run";
    Delayed, "delayed", Number, history, "jobs that are not yet due";
    Reserved, "reserved", Number, history, "jobs held by masters";
    Failed, "failed", Number, history, "jobs that failed permanently";
    Total, "total", Number, now, "jobs in all states, the done ones included";
    StoredBytes, "stored_bytes", Bytes, now, "bytes of all jobs in the store; unknown in a channel that never had `max_bytes`";
    OldestWaiting, "oldest_waiting", Duration, history, "time for which the front waiting job has waited; unknown without one";
    NextDue, "next_due", Duration, now, "time until the next delayed job is due; unknown without one";
    Paused, "paused", Bool, history, "no master leases jobs";
    PausedFor, "paused_for", Duration, now, "time for which the master has seen the channel paused; 0 while it is not";
    Masters, "masters", Number, now, "masters of the channel on all machines that are alive";
    RateIn, "rate_in", Number, history, "jobs pushed per second, by all producers";
    RateOut, "rate_out", Number, history, "jobs done or finally failed per second, in all masters";
    FailureRate, "failure_rate", Share, history, "failed runs among the ended runs of the last 5 minutes; unknown below 20 runs";
    NewPoison, "new_poison", Number, now, "jobs that were given up in the last minute because they ended their worker or were lost too often";
    WaitP50, "wait_p50", Duration, history, "half of the jobs waited no longer until their dispatch";
    WaitP95, "wait_p95", Duration, history, "95 % of the jobs waited no longer until their dispatch";
    WaitP99, "wait_p99", Duration, history, "99 % of the jobs waited no longer until their dispatch";
    RunP50, "run_p50", Duration, history, "half of the runs took no longer";
    RunP95, "run_p95", Duration, history, "95 % of the runs took no longer";
    RunP99, "run_p99", Duration, history, "99 % of the runs took no longer";
    WorkersWanted, "workers.wanted", Number, history, "workers that there should be";
    WorkersServing, "workers.serving", Number, history, "workers that take jobs";
    WorkersBusy, "workers.busy", Number, history, "workers that run jobs";
    WorkersMax, "workers.max", Number, now, "most workers of the configuration";
    WorkersBooting, "workers.booting", Number, now, "workers that have not said hello yet";
    WorkersRestarts, "workers.restarts", Number, now, "workers that crashed or failed to start in the last 5 minutes";
    StuckSlots, "stuck_slots", Number, now, "runs that were asked to end and did not";
    LongestRun, "longest_run", Duration, now, "time since the start of the run that takes longest; 0 without one";
    WorkersMemory, "memory.workers", Bytes, history, "resident memory of all workers";
    MemoryLimit, "memory.limit", Bytes, now, "memory that all workers may use together; unknown without a limit";
    StoreDownFor, "store.down_for", Duration, now, "time for which the master has had no store; 0 while it has one";
    StoreCall, "store.max", Duration, history, "longest call of the store";
    Degraded, "degraded", Bool, now, "no worker can be started";
    Quiet, "quiet", Bool, now, "`queue:quiet` is in effect";
    Stopping, "stopping", Bool, now, "the channel stops";
}

/// How a value is made from those of several masters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Across {
    /// The store has it: one value of the channel.
    Channel,
    /// The sum over the masters.
    Sum,
    /// The largest of the masters.
    Largest,
    /// True if it is true for every master.
    Every,
    /// Each host has its own: a rule that names such a value is evaluated for each host.
    Host,
}

impl Across {
    /// The word of the documentation.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Channel => "the channel",
            Self::Sum => "sum",
            Self::Largest => "largest",
            Self::Every => "every",
            Self::Host => "each host",
        }
    }
}

impl Field {
    /// How the value is made from those of several masters.
    #[must_use]
    pub fn across(self) -> Across {
        match self {
            Self::Waiting
            | Self::Delayed
            | Self::Reserved
            | Self::Failed
            | Self::Total
            | Self::StoredBytes
            | Self::OldestWaiting
            | Self::NextDue
            | Self::Paused
            | Self::PausedFor
            | Self::Masters
            | Self::RateIn
            | Self::RateOut => Across::Channel,
            // The runs of all masters, and the failed ones among them.
            Self::FailureRate
            | Self::NewPoison
            | Self::WorkersWanted
            | Self::WorkersServing
            | Self::WorkersBusy
            | Self::WorkersMax
            | Self::WorkersBooting
            | Self::WorkersRestarts
            | Self::StuckSlots => Across::Sum,
            Self::WaitP50
            | Self::WaitP95
            | Self::WaitP99
            | Self::RunP50
            | Self::RunP95
            | Self::RunP99
            | Self::LongestRun
            | Self::WorkersMemory
            | Self::MemoryLimit
            | Self::Degraded => Across::Largest,
            Self::Quiet | Self::Stopping => Across::Every,
            Self::StoreDownFor | Self::StoreCall => Across::Host,
        }
    }

    /// The field of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name() == name)
    }
}
