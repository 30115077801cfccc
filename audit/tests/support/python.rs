//! Runs a verifier that is written in Python over many cases in one process.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Reads cases, one JSON list of arguments a line, and answers each with exit code and what was printed.
const DRIVER: &str = r#"
import contextlib, functools, importlib, io, json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
program = importlib.import_module(sys.argv[2])
is_signed = functools.lru_cache(maxsize=None)(sys.modules["sealed_basics"].is_signed)
for name in ("sealed_basics", "sealed_log", sys.argv[2]):
    if hasattr(sys.modules.get(name), "is_signed"): sys.modules[name].is_signed = is_signed
for line in sys.stdin:
    sys.argv, said, code = [program.__name__, *json.loads(line)], io.StringIO(), None
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try: program.main()
        except SystemExit as end: code = end.code
        except BaseException as error: code = f"{type(error).__name__}: {error} at line {error.__traceback__.tb_next.tb_lineno}"
    print(json.dumps([code, said.getvalue()]))
"#;

/// What `module` answers in each case, a JSON list of exit code and text; `None` without Python, which CI has.
pub(crate) fn answers(module: &str, cases: &[Vec<String>]) -> Option<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.args(["-c", DRIVER]).arg(folder).arg(module).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = match command.spawn() {
        Ok(python) => python,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "python3 is missing: {error}");
            println!("left out: {module}.py, for want of python3");
            return None;
        }
    };
    let mut stdin = python.stdin.take().unwrap();
    let lines: Vec<String> = cases.iter().map(|case| format!("{case:?}\n")).collect();
    let writer =
        std::thread::spawn(move || lines.iter().for_each(|line| stdin.write_all(line.as_bytes()).unwrap()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}
