//! The `sealfeed` binary; everything is in the library.

fn main() -> std::process::ExitCode {
    sealfeed::cli::run()
}
