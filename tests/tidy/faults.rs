//! Every fault that the sealed log must be able to bear is injected by a test, and here it says by which.
//!
//! The list is the log's contract with whoever relies on it; a fault without its test, or a test renamed away, is a finding.

use crate::tree::File;

/// Each fault, and the file and test that inject it and expect its verdict.
pub(crate) const FAULTS: &[(&str, &str, &str)] = &[
    (
        "every bit of a small log flipped",
        "audit/tests/bit_flips.rs",
        "every_bit_of_a_small_log_flipped_is_reported_at_its_entry",
    ),
    (
        "entries deleted, inserted, duplicated, swapped",
        TAMPER,
        "entries_deleted_inserted_duplicated_swapped_are_found_at_their_place",
    ),
    (
        "segments removed, renamed, swapped, taken from another log",
        TAMPER,
        "segments_removed_renamed_swapped_taken_from_another_log_are_found",
    ),
    ("edit with CRC fixed", TAMPER, "edit_with_crc_fixed_is_found_at_the_entry_or_the_next_link"),
    (
        "edit with the chain recomputed to the end",
        TAMPER,
        "edit_with_the_chain_recomputed_to_the_end_is_found_by_seal_checkpoint_and_receipt",
    ),
    ("index edited", INDEX, "every_bit_of_an_index_flipped_changes_no_verdict_and_no_answer"),
    (
        "index edited with its checksums",
        INDEX,
        "an_index_edited_with_its_checksums_cannot_change_an_entry_or_a_node",
    ),
    (
        "index that leaves entries out",
        "tests/it/index.rs",
        "an_index_that_hides_entries_of_an_order_changes_no_trace_and_no_replay_that_reads_everything",
    ),
    ("length 0, huge, past the end", TAMPER, "length_0_huge_past_the_end_is_found_at_its_entry"),
    ("non-canonical encoding", TAMPER, "non_canonical_encoding_is_found_at_its_entry"),
    (
        "cut at every byte of the last three groups, stopped",
        TAMPER,
        "cut_at_every_byte_of_the_last_three_groups_of_a_stopped_log_is_truncated",
    ),
    (
        "cut at every byte of the last three groups, crashed",
        FAULTY,
        "cut_at_every_byte_of_the_last_three_groups_of_a_crashed_log_is_recovered",
    ),
    ("cut below a checkpoint", FAULTY, "cut_below_a_checkpoint_is_truncated_and_refused"),
    (
        "cut of more than one epoch with the current key",
        FAULTY,
        "cut_of_more_than_one_epoch_with_the_current_key_is_an_epoch_gap_and_refused",
    ),
    ("resume after that", FAULTY, "resume_after_a_cut_with_the_current_key_is_an_epoch_gap"),
    ("old epoch re-sealed", FAULTY, "old_epoch_resealed_with_any_later_key_is_an_epoch_gap"),
    ("seals stripped", TAMPER, "seals_stripped_or_old_epoch_resealed_are_epoch_gaps_under_k_0"),
    ("wrong K_0", TAMPER, "wrong_k_0_or_key_never_verifies_and_no_anchor_proves_nothing"),
    (
        "two writers on one log",
        "audit/tests/writer.rs",
        "two_writers_on_one_log_two_geneses_and_a_wrong_name_are_refused",
    ),
    ("restored old copy", CRASH, "restored_old_copy_is_refused_and_found_truncated_or_an_epoch_gap"),
    (
        "crash at every system call of append, rotate, seal, checkpoint, evolve",
        CRASH,
        "crash_at_every_system_call_loses_no_acknowledged_entry_and_raises_no_false_alarm",
    ),
    (
        "crash at each of them in turn, and again in the recovery",
        CRASH,
        "crash_at_each_operation_in_turn_and_again_in_its_recovery_loses_nothing",
    ),
    (
        "crash at every system call of recover",
        TABLE,
        "a_recovery_cut_off_at_any_operation_is_taken_up_and_declares_the_same",
    ),
    (
        "crash at every system call of init",
        "audit/tests/housekeeping.rs",
        "whatever_cuts_the_making_of_a_log_off_k0_of_the_log_is_in_escrow",
    ),
    (
        "kept, claimed and damaged, case by case",
        TABLE,
        "every_case_of_kept_claimed_and_damaged_opens_declares_or_refuses_as_the_rules_say",
    ),
    (
        "lost, misdirected and torn writes",
        FAULTY,
        "lost_misdirected_and_torn_writes_are_found_at_their_entry_and_refused",
    ),
    (
        "a group's write fails with the next group sealed behind it",
        CRASH,
        "of_a_group_sealed_behind_one_that_fails_nothing_is_written_and_nobody_is_told",
    ),
    (
        "crash and EIO at each operation with the next group sealed behind one that is written",
        CRASH,
        "crash_and_errors_at_each_operation_with_the_next_group_sealed_lose_nothing_acknowledged",
    ),
    ("EIO once then success", CRASH, "eio_once_then_success_is_final_and_what_was_acknowledged_stays"),
    (
        "ENOSPC and short writes at each step",
        CRASH,
        "enospc_and_short_writes_at_each_step_are_final_and_what_was_acknowledged_stays",
    ),
    ("clock steps", FAULTY, "clock_steps_change_neither_order_nor_verdict"),
    ("verify while appending for a long time", FAULTY, "verify_while_appending_raises_no_false_alarm"),
    (
        "output mutated and re-chained",
        "tests/it/execution.rs",
        "output_mutated_and_rechained_replay_diverges_at_that_seq",
    ),
    (
        "rule changed in the venue",
        "src/pipeline/execution_tests.rs",
        "rule_changed_in_the_venue_replay_refuses_or_diverges",
    ),
    (
        "the server killed under load",
        "tests/it/crash.rs",
        "no_acknowledged_order_is_lost_when_the_server_is_killed",
    ),
    (
        "a write refused under a running server",
        "tests/it/disk.rs",
        "a_write_that_the_system_refuses_stops_the_server_and_loses_nothing_acked",
    ),
];

const TAMPER: &str = "audit/tests/tamper.rs";
const FAULTY: &str = "audit/tests/faults.rs";
const CRASH: &str = "audit/tests/crash.rs";
const INDEX: &str = "audit/tests/index.rs";
const TABLE: &str = "audit/tests/recovery_table.rs";

/// Faults of the list whose test is not where it says.
pub(crate) fn without_test(faults: &[(&str, &str, &str)], files: &[File]) -> Vec<String> {
    let is_there = |file: &str, test: &str| {
        let text = files.iter().find(|found| found.name == file).map_or("", |found| &found.text);
        let lines: Vec<_> = text.lines().collect();
        let is_test = |attribute: &str| attribute == "#[test]" || attribute.starts_with("#[tokio::test");
        let is_it = |line: &str| line.trim_start_matches("async ").starts_with(&format!("fn {test}("));
        lines.windows(2).any(|pair| is_test(pair[0].trim()) && is_it(pair[1].trim()))
    };
    let missing = faults.iter().filter(|(_, file, test)| !is_there(file, test));
    missing.map(|(fault, file, test)| format!("{fault}: no test {test} in {file}")).collect()
}

#[test]
fn a_fault_whose_test_is_gone_is_found() {
    let file = File { name: "a.rs".to_owned(), text: "#[test]\nfn it_is_found() {}\n".to_owned() };
    let list = [("one", "a.rs", "it_is_found"), ("two", "a.rs", "gone"), ("three", "b.rs", "it_is_found")];
    let findings = without_test(&list, &[file]);
    assert_eq!(findings, ["two: no test gone in a.rs", "three: no test it_is_found in b.rs"]);
}
