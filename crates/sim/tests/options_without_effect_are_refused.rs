//! An option that none of the chosen policies reads is an error that names the policies which do.

use std::process::Command;

fn run(arguments: &str) -> (bool, String) {
    let program = env!("CARGO_BIN_EXE_slotwise-sim");
    let done =
        Command::new(program).args(arguments.split(' ')).output().expect("the program starts");
    (done.status.success(), String::from_utf8_lossy(&done.stderr).trim().to_owned())
}

fn refused(arguments: &str) -> String {
    let (done, error) = run(arguments);
    assert!(!done, "{arguments}: {error}");
    error
}

const TAKEN: &str = "--limit 4 --replicas 2 --policies";

#[test]
fn options_that_no_chosen_policy_reads_name_those_that_do() {
    assert_eq!(
        refused("compare --policies slotwise --guard"),
        "error: --guard has no effect on slotwise: add slotwise-flow to --policies"
    );
    assert_eq!(
        refused("compare --guard"),
        "error: --guard has no effect on any of the policies: add slotwise-flow to --policies"
    );
    assert!(refused("compare --policies gie-flow --guard").contains("add slotwise-flow"));
    assert_eq!(
        refused("compare --policies slotwise,random --ttl 60"),
        "error: --ttl has no effect on slotwise, random: add one of slotwise-flow, gie-flow, concur, \
         dynamo-sessions, dynamo-sessions-whole to --policies"
    );
    assert_eq!(
        refused("compare --policies slotwise --priorities 0.5"),
        "error: --priorities has no effect on slotwise: add one of slotwise-flow, gie-flow to --policies"
    );
    assert!(refused("compare --policies gie-flow --tenants 5").contains("add slotwise-flow"));
    for command in ["compare", "sweep"] {
        let scrape = refused(&format!("{command} --policies round-robin,mooncake --scrape-ms 10"));
        assert!(scrape.contains(
            "--scrape-ms has no effect on round-robin, mooncake: add one of gie-default"
        ));
        let delay = refused(&format!("{command} --policies round-robin --delay-ms 10"));
        assert!(delay.contains("mooncake"), "{delay}");
        assert!(refused(&format!("{command} --adapter-slots 2")).contains("--adapters"));
        assert!(refused(&format!("{command} --adapter-ranks 8,64")).contains("--adapters"));
        assert!(refused(&format!("{command} --adapter-load-time-ms 2")).contains("--adapters"));
    }
    for option in ["--guard", "--ttl 5", "--tenants 3", "--priorities 0.5", "--only quiet"] {
        assert!(refused(&format!("sweep {option}")).contains("unexpected argument"), "{option}");
    }
}

#[test]
fn a_part_of_the_clients_needs_those_that_it_is_a_part_of() {
    assert!(refused("compare --only interactive").contains("--priorities"));
    assert!(refused("compare --only quiet").contains("--tenants 2 or more"));
    assert!(refused("compare --only quiet --tenants 1").contains("--tenants 2 or more"));
}

#[test]
fn options_that_one_chosen_policy_reads_are_taken() {
    for options in [
        "slotwise,slotwise-flow --guard --ttl 5 --priorities 0.5 --tenants 3",
        "gie-flow --priorities 0.5 --ttl 5",
        "concur --ttl 5",
        "slotwise --priorities 0.5 --only interactive",
        "random --tenants 3 --only quiet",
        "slotwise --scrape-ms 20 --delay-ms 2",
        "mooncake --delay-ms 2",
        "slotwise --adapters 3 --adapter-slots 2 --adapter-load-time-ms 10",
    ] {
        let (done, error) = run(&format!("compare {TAKEN} {options}"));
        assert!(done, "{options}: {error}");
    }
}
