//! The ring `kernels`: which tests run under which kernel, and how they are run.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Result, bail};

use super::{
    Ring,
    ring::{named, start_by},
};
use crate::{libtest, record::Record, setup, vm};

/// What runs under a kernel.
struct Plan {
    series: &'static str,
    /// Parts of the names of programs' tests; all of them if there is none.
    programs: &'static [&'static str],
    /// Tests with the agent. Each loads and attaches all programs, by a processor that is emulated, and takes a minute or so: hence
    /// few, of what differs between kernels.
    whole: &'static [&'static str],
}

/// All programs are loaded, within the verifier's limits, and the engine in them counts what it counts on the host.
const LOAD_AND_AGREE: &[&str] = &["verifier::", "engine::"];

/// What the kernel has most to do with: bytes, connections, users and requests; series that leave; state that is pinned; requests in
/// flight.
const WHOLE: &[&str] = &[
    "any_kernel::bytes_connections_and_users_are_exact_and_requests_too_or_it_is_told_why_not",
    "users::two_connections_of_one_client_are_one_user",
    "expiry::an_idle_service_leaves_and_begins_at_zero_when_it_comes_back",
    "survival::a_request_in_flight_and_its_connection_survive",
    "in_flight::a_request_that_is_given_up_is_in_flight_no_more",
];

/// The kernels of the ring. 6.1 runs every test of programs: of those that have all that we use it is the oldest, so that its
/// verifier is the strictest. 6.12 lies between that and this machine's own, which runs all as well.
const PLANS: [Plan; 3] = [
    Plan { series: "6.1", programs: &[], whole: WHOLE },
    Plan { series: "6.12", programs: LOAD_AND_AGREE, whole: WHOLE },
    // It has no `bpf_loop` (since 5.17): hence no requests, nothing that comes of them, and no engine that could agree. That this is
    // so, and said, is what the first test of agents holds it to.
    Plan {
        series: "5.10",
        programs: &["verifier::", "sockets::"],
        whole: &[
            "any_kernel::bytes_connections_and_users_are_exact_and_requests_too_or_it_is_told_why_not",
            "users::two_connections_of_one_client_are_one_user",
            "users::refused_connections_are_failures_of_the_caller",
        ],
    },
];

/// Another kernel of the user's choice.
const OTHER: Plan = Plan { series: "", programs: &[], whole: WHOLE };

/// One run of tests in one virtual machine.
#[derive(Debug)]
struct Job {
    series: String,
    ring: Ring,
    arguments: Vec<String>,
    /// Tests that must have been among those that ran.
    named: Vec<&'static str>,
}

/// How the ring runs.
pub(super) struct Run<'a> {
    /// Which kernels; those of the ring if there is none.
    pub(super) series: &'a [String],
    /// Which ring runs under them.
    pub(super) ring: Ring,
    /// What the user passes on to the tests.
    pub(super) arguments: &'a [String],
}

impl Run<'_> {
    /// Runs each job to its end, even if one fails. As many run at a time as there are processors: a machine that is emulated keeps
    /// one busy.
    pub(super) fn run(&self, cargo: impl Fn(Ring) -> Command + Sync, record: &Record) -> Result<()> {
        let jobs = self.jobs();
        // What they need is fetched and compiled before any runs.
        for job in &jobs {
            setup::machine(&job.series)?;
        }
        let queue = Mutex::new(VecDeque::from(jobs));
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let failures: Vec<String> = thread::scope(|scope| {
            let work = || {
                let mut failures = Vec::new();
                while let Some(job) = next() {
                    let ran = Self::run_job(&job, cargo(job.ring), record);
                    failures.extend(
                        ran.err().map(|error| format!("{} under {}:\n{error:#}", job.ring, job.series)),
                    );
                }
                failures
            };
            let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
            let ended = workers.into_iter().map(thread::ScopedJoinHandle::join);
            ended
                .flat_map(|failures| {
                    failures.unwrap_or_else(|_| vec!["a thread that ran jobs failed".into()])
                })
                .collect()
        });
        if failures.is_empty() { Ok(()) } else { bail!(failures.join("\n")) }
    }

    fn run_job(job: &Job, mut cargo: Command, record: &Record) -> Result<()> {
        eprintln!("\nkernels: the tests `{}` under {}", job.ring, job.series);
        let runner = vm::runner(&job.series)?;
        start_by(&mut cargo, &runner);
        cargo.arg("--").args(&job.arguments);
        libtest::run(&mut cargo, &Ring::Kernels.to_string(), record)?;
        record.demand(Ring::Kernels, &format!("{}: ", job.series), &job.named)
    }

    fn jobs(&self) -> Vec<Job> {
        let mut series: Vec<&str> = self.series.iter().map(String::as_str).collect();
        if series.is_empty() {
            series.extend(PLANS.iter().map(|plan| plan.series));
        }
        let job = |series: &str, ring| Job {
            series: series.into(),
            ring,
            arguments: self.arguments.to_vec(),
            named: Vec::new(),
        };
        if self.ring != Ring::Kernels {
            return series.into_iter().map(|series| job(series, self.ring)).collect();
        }
        let plan = |series: &str| PLANS.iter().find(|plan| plan.series == series).unwrap_or(&OTHER);
        let mut jobs = Vec::new();
        for series in &series {
            let mut programs = job(series, Ring::Prog);
            if programs.arguments.iter().all(|argument| argument.starts_with('-')) {
                programs.arguments.extend(plan(series).programs.iter().map(ToString::to_string));
            }
            jobs.push(programs);
        }
        for series in &series {
            let mut whole = job(series, Ring::E2e);
            whole.named = named(plan(series).whole, self.arguments);
            whole.arguments.retain(|argument| argument.starts_with('-'));
            whole.arguments.push("--exact".into());
            whole.arguments.extend(whole.named.iter().map(ToString::to_string));
            if !whole.named.is_empty() {
                jobs.push(whole);
            }
        }
        jobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(series: &[&str], ring: Ring, arguments: &[&str]) -> Vec<(String, Ring, String)> {
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (series, arguments) = (owned(series), owned(arguments));
        let run = Run { series: &series, ring, arguments: &arguments };
        run.jobs().into_iter().map(|job| (job.series, job.ring, job.arguments.join(" "))).collect()
    }

    #[test]
    fn every_kernel_runs_its_programs_and_then_its_agent() {
        let all = jobs(&[], Ring::Kernels, &[]);
        let named: Vec<_> = all.iter().map(|(series, ring, _)| format!("{series} {ring}")).collect();
        assert_eq!(named, ["6.1 prog", "6.12 prog", "5.10 prog", "6.1 e2e", "6.12 e2e", "5.10 e2e"]);
        assert_eq!(all[0].2, "", "in full");
        assert_eq!(all[1].2, "verifier:: engine::");
        assert!(all[3].2.starts_with("--exact any_kernel::"), "{}", all[3].2);
        assert_eq!(PLANS.map(|plan| plan.series).len(), setup::TESTED.len());
        assert!(PLANS.iter().all(|plan| setup::TESTED.contains(&plan.series)));
    }

    #[test]
    fn a_ring_under_a_kernel_of_choice_takes_the_user_s_words() {
        let chosen = |ring| jobs(&["6.16"], ring, &["in_flight"]);
        assert_eq!(chosen(Ring::E2e), [("6.16".into(), Ring::E2e, "in_flight".into())]);
        assert_eq!(chosen(Ring::Prog), [("6.16".into(), Ring::Prog, "in_flight".into())]);
        let kernels = chosen(Ring::Kernels);
        assert_eq!(kernels[0].2, "in_flight");
        assert!(kernels[1].2.starts_with("--exact survival::a_request_in_flight"), "{}", kernels[1].2);
    }
}
