//! The ring `chaos`: faults and attacks that can be made on any machine, each with what must hold. They are tests of the ring `e2e`; here
//! they run by themselves, and their table is what the docs show.

use std::time::Duration;

/// What is done to the agent, what must hold, and the test that makes sure.
pub(super) const FAULTS: [(&str, &str, &str); 29] = [
    (
        "the log is on a disk that is full",
        "every request is counted; the end is clean",
        "independence::a_log_on_a_full_disk_costs_its_lines_and_nothing_else",
    ),
    (
        "the reader of the log has gone",
        "the same",
        "independence::a_log_whose_reader_has_gone_costs_its_lines_and_nothing_else",
    ),
    (
        "nobody empties the pipe of the log",
        "the same; how many lines are lost is logged once",
        "independence::a_log_that_nobody_empties_holds_nobody_up_and_what_is_lost_is_told",
    ),
    (
        "a soft limit of 128 open files, 101 interfaces",
        "it is raised; all are counted",
        "independence::a_soft_limit_of_open_files_is_raised",
    ),
    (
        "a hard limit of 256 open files, 101 interfaces, 300 clients",
        "sockets are counted exactly; interfaces left out are reported",
        "independence::interfaces_for_which_no_descriptors_are_left_are_told_and_all_else_is_counted",
    ),
    (
        "no descriptor is left to accept a connection",
        "one line says so; counting goes on",
        "independence::while_no_connection_can_be_accepted_one_line_says_so_and_counting_goes_on",
    ),
    (
        "an interface whose name is not UTF-8",
        "logged once; others are counted",
        "independence::an_interface_without_a_name_that_can_be_read_is_told_once",
    ),
    (
        "300 clients ask for the metrics and do not read",
        "each scrape beside them succeeds; memory is bounded",
        "limits::clients_that_ask_and_do_not_read_keep_no_scraper_waiting",
    ),
    (
        "100 clients send a head byte by byte",
        "each scrape beside them succeeds",
        "limits::slow_clients_keep_nobody_out",
    ),
    (
        "2,000 requests in a row on a connection",
        "2,000 answers",
        "limits::thousands_of_small_requests_in_a_row_are_not_one_long_head",
    ),
    (
        "`web.yml` is emptied, cut off, removed, a FIFO",
        "TLS, passwords and clients' certificates are still asked for",
        "web_config::no_file_takes_protection_away",
    ),
    ("the certificate has expired", "logged once", "web_config::a_certificate_that_has_expired_is_told_once"),
    (
        "processes and units with hostile names, and a restart",
        "the name is one label, before and after",
        "names::no_name_forges_a_label_before_or_after_a_restart",
    ),
    (
        "programs are detached from the cgroup",
        "attached again within 10 s, reported, and exact from there on",
        "hooks_lost::programs_that_somebody_takes_from_sockets_are_attached_again",
    ),
    (
        "the same with `--pin`",
        "the same; an agent that took them up says that it cannot",
        "hooks_lost::so_are_those_that_are_pinned",
    ),
    (
        "programs are detached from an interface",
        "attached again within 10 s, and reported",
        "hooks_lost::programs_that_somebody_takes_off_an_interface_are_attached_again",
    ),
    (
        "`tc qdisc del dev near0 clsact`",
        "the same",
        "hooks_lost::filters_that_go_with_their_clsact_come_back_with_one",
    ),
    (
        "a second agent on the same interfaces",
        "neither takes the other's filters; nothing stays behind",
        "hooks_lost::the_filters_of_an_agent_that_lives_are_no_leftovers",
    ),
    (
        "what is pinned is deleted, all or a part of it",
        "reported; at the end it says that it is detached, and it is",
        "hooks_lost::of_pins_that_are_deleted_it_says_what_is_true",
    ),
    (
        "SIGKILL under load, 20 times, with `--pin`",
        "every request is counted, once",
        "survival::killed_twenty_times_under_load_it_counts_what_was_sent",
    ),
    (
        "SIGKILL while services leave their table, 12 times",
        "no place is lost or given twice",
        "expiry::an_agent_that_is_killed_in_between_loses_no_room",
    ),
    (
        "what is pinned is damaged",
        "it is replaced, and reported",
        "survival::replacement::a_damaged_state_is_replaced",
    ),
    (
        "interfaces come and go, 20 a second",
        "those that stay are counted to the byte",
        "churn::what_stays_is_counted_exactly_while_others_come_and_go",
    ),
    (
        "rtnetlink overruns",
        "interfaces are listed again",
        "churn::after_an_overrun_the_interfaces_are_listed_again",
    ),
    (
        "a flood of SYNs",
        "the service beside it is exact",
        "floods::a_syn_flood_fills_nothing_and_hides_nobody",
    ),
    ("64 KiB of locked memory", "it counts", "cramped::with_64_kib_of_locked_memory_it_counts"),
    ("no tracefs", "it counts", "cramped::without_tracefs_it_counts"),
    (
        "a bpffs that is read-only",
        "it counts, and pins nothing",
        "cramped::on_a_bpffs_that_is_read_only_it_counts_and_pins_nothing",
    ),
    (
        "64 MiB of memory",
        "it does not start, and says what it needs",
        "cramped::in_64_mib_it_says_what_it_needs_and_check_says_the_same",
    ),
];

/// The tests.
pub(super) fn tests() -> Vec<&'static str> {
    FAULTS.iter().map(|(_, _, test)| *test).collect()
}

/// The table of what held, as the docs have it, with the time that each took, where it ran.
pub(super) fn table(time: impl Fn(&str) -> Option<Duration>) -> String {
    let rows = FAULTS.iter().filter_map(|(fault, holds, test)| {
        Some(format!("| {fault} | {holds} | {:.1} s | `{test}` |\n", time(test)?.as_secs_f64()))
    });
    ["| fault | what held | in | test |\n|---|---|---|---|\n".to_owned()].into_iter().chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::workspace;

    #[test]
    fn the_docs_have_every_fault() {
        let docs = fs::read_to_string(workspace::root().join("docs/internals/chaos.md")).unwrap();
        for (fault, holds, test) in FAULTS {
            let (row, end) = (format!("| {fault} | {holds} | "), format!(" s | `{test}` |"));
            let is_there = docs.lines().any(|line| line.starts_with(&row) && line.ends_with(&end));
            assert!(is_there, "docs/internals/chaos.md has no row for {test}: `cargo xtask chaos` shows it");
        }
    }

    #[test]
    fn what_ran_is_in_the_table() {
        let table = table(|test| test.starts_with("names::").then_some(Duration::from_millis(1500)));
        assert_eq!(table.lines().count(), 3);
        assert!(table.contains("before and after | 1.5 s | `names::"), "{table}");
    }
}
