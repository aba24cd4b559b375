//! The ring `long`: tests of the ring `e2e` in their full size. There they run with less of the same, in seconds, each time; what the
//! full size shows rarely changes, and takes a quarter of an hour.

/// Which tests.
pub(super) const TESTS: [&str; 8] = [
    "churn::what_stays_is_counted_exactly_while_others_come_and_go",
    "crowd::more_users_than_there_is_room_for_are_estimated",
    "expiry::services_in_sequence_find_room_in_a_small_table",
    "floods::a_flood_of_all_kinds_leaves_memory_and_others_alone",
    "hostile::captures::a_capture_to_which_anything_was_done_is_survived",
    "hostile::captures::a_long_capture_of_nothing_but_hostile_packets_takes_no_more_memory",
    "pods::every_request_is_under_its_pod_however_many_come_and_go",
    "pods::turnover::pods_that_are_gone_make_room_once_every_scraper_has_had_them",
];

/// How large they are, by the variables that they read; what the user has set is kept.
pub(super) const SIZES: [(&str, &str); 7] = [
    ("TRAFFIC_PROBE_CHURN_SECONDS", "60"),
    ("TRAFFIC_PROBE_CROWD", "1000000"),
    ("TRAFFIC_PROBE_FLOOD", "10000000"),
    ("TRAFFIC_PROBE_MANY_PODS", "1"),
    ("TRAFFIC_PROBE_MUTATIONS", "10000"),
    ("TRAFFIC_PROBE_SERVICES_IN_SEQUENCE", "5000"),
    // How long one of them may take, in seconds.
    ("TRAFFIC_PROBE_TEST_LIMIT", "1800"),
];
