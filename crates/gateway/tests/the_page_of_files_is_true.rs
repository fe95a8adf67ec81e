//! The files of the manual's page load, and those of its errors have the messages beside them.

use slotwise_gateway::config;

const PAGE: &str = include_str!("../../../docs/src/configuration.md");

/// The blocks of the page: their languages, their texts, and whether they are below "Errors".
fn blocks() -> Vec<(&'static str, &'static str, bool)> {
    let mut fences = PAGE.split("```");
    let mut blocks = Vec::new();
    let mut in_errors = false;
    while let (Some(prose), Some(block)) = (fences.next(), fences.next()) {
        if let Some(heading) = prose.rfind("\n## ") {
            in_errors = prose[heading..].starts_with("\n## Errors");
        }
        let (language, text) = block.split_once('\n').expect("a language");
        blocks.push((language, text, in_errors));
    }
    blocks
}

#[test]
fn files_load() {
    let files: Vec<_> = blocks().into_iter().filter(|it| it.0 == "yaml" && !it.2).collect();
    assert!(files.len() >= 3);
    for (_, file, _) in files {
        if let Err(problems) = config::read("gateway.yaml", file) {
            panic!("{file}\n{problems:#?}");
        }
    }
}

#[test]
fn errors_have_their_messages() {
    let blocks: Vec<_> = blocks().into_iter().filter(|block| block.2).collect();
    assert!(blocks.len() >= 20, "ten files with their messages");
    for pair in blocks.chunks(2) {
        let [(file_language, file, _), (language, message, _)] = pair else {
            panic!("a file without its message");
        };
        assert_eq!((*file_language, *language), ("yaml", "text"));
        let problems = config::read("gateway.yaml", file).expect_err(file);
        let lines: Vec<_> = problems.iter().map(|problem| format!("{problem}\n")).collect();
        // The page continues a long message on an indented line.
        assert_eq!(lines.concat(), message.replace("\n  ", " "));
    }
}
