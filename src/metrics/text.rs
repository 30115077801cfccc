//! `OpenMetrics`, as the library writes it, in the older text format that every collector reads.
//!
//! The two differ, in what we use, by three things: the older one names a counter with its `_total` in `HELP` and `TYPE` too, and knows neither
//! `UNIT` nor the end mark. Source: Prometheus, "Text-based format", version 0.0.4.

use std::collections::HashSet;
use std::fmt::Write as _;

/// The same figures in the text format 0.0.4.
pub(super) fn classic(open_metrics: &str) -> String {
    let counters: HashSet<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    for line in open_metrics.lines() {
        let described =
            ["# HELP ", "# TYPE "].into_iter().find_map(|mark| Some((mark, line.strip_prefix(mark)?)));
        let written = match described.and_then(|(mark, rest)| Some((mark, rest.split_once(' ')?))) {
            Some((mark, (name, rest))) if counters.contains(name) => {
                writeln!(text, "{mark}{name}_total {rest}")
            }
            _ if line.starts_with("# UNIT ") || line == "# EOF" => Ok(()),
            _ => writeln!(text, "{line}"),
        };
        // A `String` takes everything.
        let _ = written;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_has_one_name_in_all_its_lines_and_nothing_of_the_newer_format_is_left() {
        let open_metrics = "# HELP a_seconds Some.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total{k=\"# EOF\"} 1\n\
                            # HELP b B.\n# TYPE b gauge\nb 2\n# EOF\n";
        let expected = "# HELP a_seconds_total Some.\n# TYPE a_seconds_total counter\na_seconds_total{k=\"# EOF\"} 1\n\
                        # HELP b B.\n# TYPE b gauge\nb 2\n";
        assert_eq!(classic(open_metrics), expected);
    }
}
