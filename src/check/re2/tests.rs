use super::*;

/// What Envoy 1.40.0 refuses.
#[test]
fn what_re2_refuses_is_refused() {
    let refused = [
        "(?=a)",
        "a(?!b)",
        r"(a)\1",
        "(?<=a)b",
        "(?>a)",
        "a++",
        "a**",
        "a{1001}",
        "(a{100}){11}",
        "a{2,1}",
        r"\Z",
        r"\h",
        "(?x)a",
        "[z-a]",
        "(a",
        "a)",
        "[a",
        "*a",
        "a|*",
        r"\u0041",
        r"\8",
        r"\e",
        "[[:foo:]]",
        "a{2}{3}",
        "(?P=n)",
        r"\",
        r"[a-\d]",
        "(?i",
        r"\K",
        r"\G",
        r"\R",
        r"\N",
        r"[\Q]\E]",
        r"\cA",
        r"[\b]",
        "(?#c)",
    ];
    for expression in refused {
        assert!(matches!(program_size(expression), Err(Problem::Refused(_))), "{expression}");
    }
}

/// What Envoy 1.40.0 takes.
#[test]
fn what_re2_takes_is_taken() {
    let taken = [
        "[a&&b]",
        "[[a]",
        "a{",
        "a{,3}",
        r"\d+",
        r"\z",
        "(?<n>a)",
        "(?P<n>a)",
        r"\Qa.b\E",
        r"\pL",
        r"\p{Greek}",
        r"\x{41}",
        r"\x41",
        r"\12",
        r"\_",
        "[[:alpha:]]",
        "a+?",
        "(?i)a",
        "(?-s:a)",
        "(?P<n>a)(?P<m>b)",
        "[]a]",
        "[^]a]",
        "()",
        "(|a)",
        "^*",
        r"\C",
        r"\b*",
        "x{1,2,3}",
        "(?U)a",
        "(?:)",
        "(?)",
        "a{0}",
        r"\A",
    ];
    for expression in taken {
        assert!(program_size(expression).is_ok(), "{expression}: {:?}", program_size(expression));
    }
}

/// Sizes that Envoy 1.40.0 reports.
#[test]
fn sizes_are_those_of_re2() {
    let sizes = [
        ("b", 1),
        ("a*", 1),
        ("a+", 2),
        ("a?", 2),
        ("(a|b)", 3),
        ("(ab|cd)", 6),
        ("(ab|ac)", 4),
        ("[a-z0-9-]", 3),
        (".", 2),
        ("[^/]+", 3),
        ("b{1,3}", 5),
        ("b{0,10}", 20),
        ("[a-z0-9-]{1,63}", 251),
        (r"\w", 3),
        (r"\W", 5),
        (r"\s", 3),
        ("é", 2),
        ("(foo|bar|baz)", 9),
        ("(?:foo|bar)+", 7),
        ("(ab)?", 5),
        ("(ab){2,4}", 18),
        ("b{2,}", 3),
        ("(?i)abc", 3),
        ("(a|b|c|d)", 3),
        ("(?s).", 1),
        ("[^a-z]", 2),
        ("/[a-z0-9-]{1,63}/[a-z0-9-]{1,63}", 504),
    ];
    for (expression, size) in sizes {
        assert_eq!(program_size(expression), Ok(size + OVERHEAD), "{expression}");
    }
}

#[test]
fn deep_groups_are_not_judged() {
    assert_eq!(program_size(&"(".repeat(100_000)), Err(Problem::Unknown));
}
