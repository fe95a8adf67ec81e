//! Files of a configuration: any text is read or refused, and what was read is printed and read
//! again as the same configuration.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slotwise_gateway::config;

fuzz_target!(|text: &str| {
    let loaded = match config::read("any.yaml", text) {
        Ok(loaded) => loaded,
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(problems.iter().all(|problem| !problem.message.is_empty()));
            return;
        }
    };
    let printed = loaded.configuration.to_yaml();
    let again = config::read("printed.yaml", &printed).expect("as it was printed");
    assert_eq!(again.configuration.diff(&loaded.configuration), []);
});
